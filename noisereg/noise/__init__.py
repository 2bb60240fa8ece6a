"""Label noise: rules, the draw of targets from them, and schedules of their strength."""

from noisereg.noise.corruption import Corruption, token_index
from noisereg.noise.flip import Flip
from noisereg.noise.none import NoNoise
from noisereg.noise.resample import Resample
from noisereg.noise.rule import Rule
from noisereg.noise.schedule import Constant, Cosine, Linear, Schedule, SquareWave, Step
from noisereg.noise.transition import Transition

__all__ = [
    "Constant",
    "Corruption",
    "Cosine",
    "Flip",
    "Linear",
    "NoNoise",
    "Resample",
    "Rule",
    "Schedule",
    "SquareWave",
    "Step",
    "Transition",
    "token_index",
]
