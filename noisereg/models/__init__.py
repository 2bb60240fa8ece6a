"""Networks: plain modules that map a batch of inputs to logits, each a function of its arguments and its seed alone."""

from noisereg.models.cnn import CNN
from noisereg.models.init import initialize
from noisereg.models.library import timm_model, torchvision_model, transformers_model
from noisereg.models.mlp import MLP
from noisereg.models.neuron import Neuron
from noisereg.models.resnet import ResNet
from noisereg.models.transformer import GPT, ViT
from noisereg.models.two_layer import TwoLayer

__all__ = [
    "CNN",
    "GPT",
    "MLP",
    "Neuron",
    "ResNet",
    "TwoLayer",
    "ViT",
    "initialize",
    "timm_model",
    "torchvision_model",
    "transformers_model",
]
