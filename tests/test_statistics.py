import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from noisereg.statistics import (
    Interval,
    cell_means,
    holm_rejections,
    mean_interval,
    p_value,
    paired_means,
    range_outcome,
)


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


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.8, 1.2, "met"),
        (0.79, 1.2, "undecided"),
        (0.8, 1.21, "undecided"),
        (0.1, 5.0, "undecided"),  # wider than the range
        (0.1, 0.79, "missed"),
        (0.1, 0.8, "undecided"),
        (1.21, 5.0, "missed"),
        (math.nan, math.nan, "undecided"),
    ],
)
def test_a_range_is_met_by_the_whole_interval(low, high, outcome):
    assert range_outcome(Interval((low + high) / 2, low, high, 3), 0.8, 1.2) == outcome


@pytest.mark.parametrize("t", [-4.0, -1.5, 0.0, 0.3, 2.0, 12.0])
def test_the_p_value_is_the_closed_form_for_two_and_three_values(t):
    one_degree = 1 - 2 * math.atan(abs(t)) / math.pi
    two_degrees = 1 - abs(t) / math.sqrt(2 + t**2)
    assert p_value([-1.0, 1.0], -t) == pytest.approx(one_degree)  # s / √n is 1
    assert p_value([-math.sqrt(3), 0.0, math.sqrt(3)], -t) == pytest.approx(two_degrees)


def test_a_p_value_below_a_level_is_an_interval_that_does_not_hold_the_number():
    values = [0.3, 1.7, 2.2, 0.9]
    low = mean_interval(values).low
    assert p_value(values, low) == pytest.approx(0.05)
    assert p_value(values, low - 0.01) < 0.05 < p_value(values, low + 0.01)


def test_values_without_spread_leave_no_doubt():
    assert (p_value([0.5, 0.5, 0.5], 0.4), p_value([0.5, 0.5, 0.5], 0.5)) == (0, 1)
    assert math.isnan(p_value([0.5], 0.4))


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ([], []),
        ([0.049], [True]),
        ([0.051], [False]),
        ([0.03, 0.03], [False, False]),  # each against 0.025
        ([0.024, 0.049], [True, True]),
        ([0.049, 0.024], [True, True]),
        ([0.01, 0.02, 0.03, 0.04], [True, False, False, False]),  # 0.0125, 0.0167: none after the first that fails
        ([0.001, 0.9, 0.012], [True, False, True]),
    ],
)
def test_holm_holds_the_least_against_the_share_of_all_and_stops_at_the_first_that_fails(p_values, rejected):
    assert holm_rejections(p_values) == rejected


def test_holm_is_seldom_wrong_even_once_in_ten_true_hypotheses():
    trials = 4000
    draws = np.random.default_rng(0).uniform(size=(trials, 10))
    wrong = sum(any(holm_rejections(row)) for row in draws.tolist()) / trials
    assert abs(wrong - (1 - 0.995**10)) < 5 * math.sqrt(0.05 * 0.95 / trials)  # the least is below 0.005


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


@pytest.mark.parametrize("value", [0.9, 0.1, 0.7, 1 / 3])
@pytest.mark.parametrize("n", range(2, 31))
def test_equal_values_are_their_mean_to_the_last_digit(value, n):
    # the sum of twenty times 0.9 is rounded to 17.999999999999996, of which a twentieth is below 0.9
    assert mean_interval([value] * n) == (value, value, value, n)
    assert p_value([value] * n, value) == 1
    rows = pd.DataFrame({"p": 0.2, "seed": range(n), "error": value})
    for table in (cell_means(rows, ["error"], by=["p"]), paired_means(rows, ["error"])):
        assert table[["mean", "low", "high"]].to_numpy().tolist() == [[value] * 3]


def test_an_infinite_value_leaves_no_interval():
    mean, low, high, n = mean_interval([1.0, math.inf])
    assert (mean, n) == (math.inf, 2)
    assert math.isnan(low) and math.isnan(high)
    (row,) = paired_means(pd.DataFrame({"p": 0.2, "seed": [0, 1], "x": [1.0, math.inf]}), ["x"]).to_dict("records")
    assert (row["mean"], row["n"]) == (math.inf, 2) and math.isnan(row["low"]) and math.isnan(row["high"])


def test_the_interval_covers_the_mean_as_often_as_it_says():
    trials, n, level = 20_000, 5, 0.95
    values = np.random.default_rng(1).normal(loc=2.0, scale=3.0, size=trials * n)
    table = cell_means(pd.DataFrame({"trial": np.arange(trials * n) // n, "x": values}), ["x"], by=["trial"])
    covered = ((table["low"] < 2.0) & (table["high"] > 2.0)).mean()
    assert abs(covered - level) < 5 * math.sqrt(level * (1 - level) / trials)


def test_each_cell_has_its_own_interval_in_order():
    frame = pd.DataFrame({"p": [0.2, 0.0, 0.2, 0.0, 0.2], "epoch": 1, "x": [5.0, 1.0, 7.0, 2.0, 9.0]})
    table = cell_means(frame, ["x"], by=["p", "epoch"]).drop(columns="metric")
    assert list(table) == ["p", "epoch", "mean", "low", "high", "n", "replicas"]
    assert table["p"].tolist() == [0.0, 0.2]
    assert tuple(table.iloc[0, 2:6]) == pytest.approx(mean_interval([1.0, 2.0]))
    assert tuple(table.iloc[1, 2:6]) == pytest.approx(mean_interval([5.0, 7.0, 9.0]))


def test_means_count_the_replicas_without_a_value_too():
    frame = pd.DataFrame({"p": [0.2, 0.2, 0.2, 0.0], "seed": [0, 1, 2, 0], "x": [5.0, math.nan, 7.0, math.nan]})
    for table in (cell_means(frame, ["x"], by=["p"]), paired_means(frame, ["x"])):
        assert table[["p", "n", "replicas"]].to_numpy().tolist() == [[0.0, 0, 1], [0.2, 2, 3]]


@pytest.mark.parametrize("level", [0, 1, 95])
def test_level_outside_its_range_is_refused(level):
    with pytest.raises(ValueError, match=rf"level must be in \(0, 1\), got {level}"):
        mean_interval([1.0, 2.0], level)


QUIET, NOISY = [0.40, 0.42, 0.44], [0.20, 0.23, 0.23]


def rows(*cells):
    """One row for each (columns, values): the values of seeds 0, 1, ..."""
    return pd.DataFrame(
        [{**columns, "seed": seed, "x": value} for columns, values in cells for seed, value in enumerate(values)]
    )


def differences(table):
    """The difference of each cell that has one."""
    cells = [column for column in ("arm", "lr", "p") if column in table]
    return table[table["pairs"] > 0].set_index(cells)["difference"].to_dict()


@pytest.mark.parametrize("named", [({}, {}), ({"arm": "none"}, {"arm": "smoothing"})])
def test_a_mean_has_its_interval_and_the_paired_difference_to_no_noise(named):
    replicas = rows((named[0] | {"p": 0.0}, QUIET), (named[1] | {"p": 0.2}, NOISY)).sample(frac=1, random_state=0)
    table = paired_means(replicas, ["x"])
    none, noisy = table.to_dict("records")
    assert (none["p"], none["n"], none["pairs"]) == (0, 3, 0)
    assert none["mean"] == pytest.approx(0.42)
    assert math.isnan(none["difference"])
    alone = scipy.stats.ttest_1samp(NOISY, 0).confidence_interval()
    paired = scipy.stats.ttest_rel(NOISY, QUIET).confidence_interval()
    assert (noisy["mean"], noisy["difference"]) == pytest.approx((0.22, -0.20))
    assert (noisy["low"], noisy["high"]) == pytest.approx((alone.low, alone.high))
    assert (noisy["difference_low"], noisy["difference_high"]) == pytest.approx((paired.low, paired.high))
    assert (noisy["n"], noisy["pairs"]) == (3, 3)


def test_without_p_zero_there_is_no_difference():
    table = paired_means(rows(({"p": 0.1}, [0.3, 0.4]), ({"p": 0.2}, [0.1, 0.2])), ["x"])
    assert table["pairs"].tolist() == [0, 0]
    assert table["difference"].isna().all()


def test_a_seed_without_a_partner_is_left_out_of_the_difference():
    _, noisy = paired_means(rows(({"p": 0.0}, QUIET[:2]), ({"p": 0.2}, NOISY)), ["x"]).to_dict("records")
    assert (noisy["n"], noisy["pairs"]) == (3, 2)
    assert noisy["difference"] == pytest.approx((0.20 - 0.40 + 0.23 - 0.42) / 2)


def test_differences_are_taken_within_an_arm_and_a_rate_that_have_a_p_zero():
    cells = [
        ({"arm": arm, "lr": lr, "p": p}, [base + p])
        for arm, lr, base in [("a", 0.1, 1.0), ("a", 0.3, 2.0), ("b", 0.1, 3.0)]
        for p in (0.0, 0.5)
    ]
    table = paired_means(rows(*cells), ["x"])
    assert table["mean"].tolist() == [1, 1.5, 2, 2.5, 3, 3.5]
    assert differences(table) == {("a", 0.1, 0.5): 0.5, ("a", 0.3, 0.5): 0.5, ("b", 0.1, 0.5): 0.5}


def test_an_arm_is_not_compared_with_one_of_two_others():
    cells = [({"arm": arm, "p": p}, [0.5]) for arm, p in (("a", 0.0), ("b", 0.0), ("c", 0.1))]
    assert differences(paired_means(rows(*cells), ["x"])) == {}


def test_a_rate_is_compared_with_the_same_rate_alone():
    cells = [({"lr": lr, "p": p}, [lr + p]) for lr, p in ((0.1, 0.0), (0.3, 0.0), (0.3, 0.2), (0.5, 0.2))]
    assert differences(paired_means(rows(*cells), ["x"])) == {(0.3, 0.2): pytest.approx(0.2)}


def test_each_metric_has_its_rows():
    table = paired_means(rows(({"p": 0.0}, QUIET), ({"p": 0.2}, NOISY)).assign(y=3.0, z=1.0), ["x", "y"])
    assert table[["p", "metric"]].values.tolist() == [[0, "x"], [0, "y"], [0.2, "x"], [0.2, "y"]]
    assert table.loc[table["metric"] == "y", "mean"].tolist() == [3, 3]


def test_a_metric_that_a_p_lacks_has_no_number_there():
    table = paired_means(pd.DataFrame([{"p": 0.0, "seed": 0, "x": 0.4}, {"p": 0.2, "seed": 0, "y": 2.0}]), ["x", "y"])
    numbers = table.set_index(["p", "metric"])["n"].to_dict()
    assert numbers == {(0.0, "x"): 1, (0.0, "y"): 0, (0.2, "x"): 0, (0.2, "y"): 1}
    assert table["pairs"].tolist() == [0, 0, 0, 0]


def test_a_metric_that_is_in_no_row_is_refused():
    with pytest.raises(ValueError, match="metrics must be columns of the replicas, p, seed, x, got y"):
        paired_means(rows(({"p": 0.0}, QUIET)), ["x", "y"])


def test_two_rows_of_a_seed_without_noise_are_partners_of_none():
    twice = pd.concat([rows(({"p": 0.0}, QUIET)), rows(({"p": 0.0}, QUIET), ({"p": 0.2}, NOISY))])
    assert differences(paired_means(twice, ["x"])) == {}


def test_without_metrics_there_are_no_rows():
    assert paired_means(rows(({"p": 0.0}, QUIET)), []).empty
