"""Small networks of several kinds, and what they are trained on."""

import torch
from torch import nn

from noisereg.models import MLP, ResNet


def mlp(seed=0):
    return MLP((6,), 3, hidden=[8, 5], seed=seed)


def cnn(seed=0, momentum=0.1):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4, momentum=momentum)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), norm, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 16, 3)
    )


def resnet(seed=0):
    return ResNet((3, 8, 8), 3, depth=20, seed=seed)


SHAPES = {mlp: (6,), cnn: (1, 6, 6), resnet: (3, 8, 8)}


def draw(shape, *, steps=20, count=3, batch=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(steps, count, batch, *shape, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(3, (steps, count, batch), generator=generator)


class Peculiar(nn.Module):
    """A weight that is shared, one that is frozen, one that is of no use, a number, and one without entries."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second, self.unused = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.frozen = nn.Linear(6, 3).requires_grad_(False)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.empty = nn.Parameter(torch.empty(0))

    def forward(self, inputs):
        return self.scale * self.frozen(self.second(self.first(inputs).relu()).relu())
