"""LightningModules."""

from noisereg.modules.classifier import Classifier

__all__ = ["Classifier"]
