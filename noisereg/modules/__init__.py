"""LightningModules."""

from noisereg.modules.classifier import Classifier, predictions

__all__ = ["Classifier", "predictions"]
