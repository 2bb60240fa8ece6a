import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from noisereg.statistics import Interval, bands, mean_interval, paired_difference


@pytest.mark.parametrize(
    ("n", "level", "quantile"),  # from a printed table of Student's t
    [(2, 0.95, 12.706), (3, 0.95, 4.303), (5, 0.95, 2.776), (20, 0.95, 2.093), (5, 0.99, 4.604), (10, 0.9, 1.833)],
)
def test_half_width_is_the_quantile_of_the_table_times_the_standard_error(n, level, quantile):
    values = [float(i * i) for i in range(n)]
    mean = sum(values) / n
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)
    interval = mean_interval(values, level)
    assert interval.mean == pytest.approx(mean)
    assert interval.high - interval.mean == pytest.approx(quantile * error, rel=2e-4)
    assert interval.mean - interval.low == pytest.approx(quantile * error, rel=2e-4)
    assert interval.n == n


def test_mean_interval_agrees_with_scipy():
    values = np.random.default_rng(0).lognormal(size=7)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, 0.9)[1:3] == pytest.approx((expected.low, expected.high))


def test_one_value_has_a_mean_and_no_interval():
    mean, low, high, n = mean_interval([3.0])
    assert (mean, n) == (3.0, 1)
    assert math.isnan(low) and math.isnan(high)


@pytest.mark.parametrize("values", [[], [math.nan, math.nan]])
def test_no_value_has_no_mean(values):
    *numbers, n = mean_interval(values)
    assert all(map(math.isnan, numbers))
    assert n == 0


def test_nan_is_left_out():
    assert mean_interval([1.0, math.nan, 3.0]) == mean_interval([1.0, 3.0])


def test_equal_values_have_an_interval_without_width():
    assert mean_interval([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3)


def test_an_infinite_value_leaves_no_interval():
    mean, low, high, n = mean_interval([1.0, math.inf])
    assert (mean, n) == (math.inf, 2)
    assert math.isnan(low) and math.isnan(high)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    trials, n, level = 20_000, 5, 0.95
    values = np.random.default_rng(1).normal(loc=2.0, scale=3.0, size=trials * n)
    table = bands(pd.DataFrame({"trial": np.arange(trials * n) // n, "x": values}), "x", by=["trial"], level=level)
    covered = ((table["low"] < 2.0) & (table["high"] > 2.0)).mean()
    assert abs(covered - level) < 5 * math.sqrt(level * (1 - level) / trials)


def test_bands_gives_each_group_its_own_interval_in_order():
    frame = pd.DataFrame({"p": [0.2, 0.0, 0.2, 0.0, 0.2], "epoch": 1, "x": [5.0, 1.0, 7.0, 2.0, 9.0]})
    table = bands(frame, "x", by=["p", "epoch"])
    assert list(table) == ["p", "epoch", "mean", "low", "high", "n"]
    assert table["p"].tolist() == [0.0, 0.2]
    assert tuple(table.iloc[0, 2:]) == pytest.approx(mean_interval([1.0, 2.0]))
    assert tuple(table.iloc[1, 2:]) == pytest.approx(mean_interval([5.0, 7.0, 9.0]))


@pytest.mark.parametrize("level", [0, 1, 95])
def test_level_outside_its_range_is_refused(level):
    with pytest.raises(ValueError, match=rf"level must be in \(0, 1\), got {level}"):
        mean_interval([1.0, 2.0], level)


def test_paired_difference_is_the_interval_of_the_differences():
    shared, rng = np.random.default_rng(2).normal(size=8), np.random.default_rng(3)
    low, high = shared + rng.normal(scale=0.1, size=8), shared + 1 + rng.normal(scale=0.1, size=8)
    rows = [{"p": 0.0, "seed": s, "x": value} for s, value in enumerate(low)]
    rows += [{"p": 0.2, "seed": s, "x": value} for s, value in reversed(list(enumerate(high)))]
    difference = paired_difference(rows, "x", p=0.2, baseline=0.0)
    expected = scipy.stats.ttest_rel(high, low).confidence_interval()
    assert difference[1:3] == pytest.approx((expected.low, expected.high))
    assert difference.n == 8
    assert difference.mean == pytest.approx(high.mean() - low.mean())


def test_a_seed_without_a_partner_is_left_out():
    rows = [
        {"p": p, "seed": seed, "x": x}
        for p, seed, x in [(0, 1, 5.0), (0, 2, 7.0), (1, 2, 8.0), (1, 3, 90.0), (1, 1, 9.0)]
    ]
    assert paired_difference(rows, "x", p=1, baseline=0)[::3] == (2.5, 2)


def test_a_p_that_is_in_no_row_is_refused():
    rows = [{"p": 0.0, "seed": 0, "x": 1.0}, {"p": 0.2, "seed": 0, "x": 1.0}]
    with pytest.raises(ValueError, match=r"p must be one of \[0.0, 0.2\], got 0.3"):
        paired_difference(rows, "x", p=0.2, baseline=0.3)


def test_a_metric_that_is_in_no_row_is_refused():
    with pytest.raises(ValueError, match="metric must be a column of the replicas, p, seed, x, got y"):
        paired_difference([{"p": 0.0, "seed": 0, "x": 1.0}], "y", p=0.0, baseline=0.0)


def test_two_rows_for_one_seed_are_refused():
    rows = [{"p": 0.0, "seed": 4, "lr": lr, "x": 1.0} for lr in (0.1, 0.2)]
    with pytest.raises(ValueError, match=r"one row at p=0.0, got two of seed 4; keep one learning rate"):
        paired_difference(rows, "x", p=0.0, baseline=0.0)
