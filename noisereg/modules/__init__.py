"""LightningModules."""

from noisereg.modules.classifier import Classifier
from noisereg.modules.replicas import ReplicaLogger, Replicas

__all__ = ["Classifier", "ReplicaLogger", "Replicas"]
