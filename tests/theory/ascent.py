"""Engines with a planted fault: they go up the gradient."""

from noisereg.engine import Blocked, Fused


class Ascent(Blocked):
    def __call__(self, stack, inputs, *, index, targets, rates):
        super().__call__(stack, inputs, index=index, targets=targets, rates=-rates)


class FusedAscent(Fused):
    def __call__(self, stack, inputs, *, index, targets, rates):
        super().__call__(stack, inputs, index=index, targets=targets, rates=-rates)


def failed(checks):
    """Return the ids of the checks that apply and are refuted."""
    return {check.id for check in checks if check.applicable and not check.holds and not check.undecided}
