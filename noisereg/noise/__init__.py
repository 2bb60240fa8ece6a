"""Label noise: rules, the draw of targets from them, and schedules of their strength."""

from noisereg.noise.assigned import Assigned
from noisereg.noise.corruption import Corruption, token_index
from noisereg.noise.file_labels import FileLabels, Samples
from noisereg.noise.flip import Flip
from noisereg.noise.none import NoNoise
from noisereg.noise.resample import Resample
from noisereg.noise.rule import Rule
from noisereg.noise.schedule import Constant, Cosine, Linear, Schedule, SquareWave, Step, check_schedule
from noisereg.noise.transition import Transition

__all__ = [
    "Assigned",
    "Constant",
    "Corruption",
    "Cosine",
    "FileLabels",
    "Flip",
    "Linear",
    "NoNoise",
    "Resample",
    "Rule",
    "Samples",
    "Schedule",
    "SquareWave",
    "Step",
    "Transition",
    "check_schedule",
    "token_index",
]
