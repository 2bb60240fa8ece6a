import pytest

from noisereg.report.metric_names import metric_in_words


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("test/error", "test/error"),
        ("best/test/error", "best/test/error (at the epoch where it is lowest)"),
        ("selected/test/error", "selected/test/error (where val/error is lowest)"),
        ("norm/best", "norm/best"),
    ],
)
def test_a_number_that_is_not_of_the_end_says_so(metric, words):
    assert metric_in_words(metric) == words
