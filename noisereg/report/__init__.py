"""What is drawn and said of runs: intervals over replicas, and figures."""

from noisereg.report.figures import against_p, curves, save
from noisereg.statistics import Interval, bands, mean_interval, paired_difference

__all__ = ["Interval", "against_p", "bands", "curves", "mean_interval", "paired_difference", "save"]
