"""SGD for R stacked replicas at once."""

from noisereg.engine.blocked import Blocked
from noisereg.engine.fused import Fused
from noisereg.engine.stack import Stack, can_stack

__all__ = ["Blocked", "Fused", "Stack", "can_stack"]
