"""SGD for R stacked replicas at once."""

from noisereg.engine.blocked import Blocked
from noisereg.engine.fused import Fused
from noisereg.engine.stack import Stack

__all__ = ["Blocked", "Fused", "Stack"]
