import pytest

from noisereg.engine.measurement import Measurement, Observer
from noisereg.runs.bands import LoggedBands
from noisereg.runs.curves import Curves
from noisereg.runs.lightning_logger import ObserverLogger

NAMES = [{"p": 0.1, "seed": 0}]


@pytest.mark.parametrize(
    "made",
    [Curves(None, NAMES), ObserverLogger(Curves(None, NAMES)), LoggedBands([], NAMES)],
    ids=lambda x: type(x).__name__,
)
def test_whatever_takes_measurements_is_an_observer(made):
    assert isinstance(made, Observer)


def test_what_takes_none_is_no_observer():
    assert not isinstance(Measurement(0, 0, [0], {}), Observer)
