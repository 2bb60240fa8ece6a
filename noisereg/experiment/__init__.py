"""One run: from a checked configuration to a result in the run's folder."""

from noisereg.experiment.run import prepare, run

__all__ = ["prepare", "run"]
