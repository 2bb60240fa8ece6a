import math

import pandas as pd
import pytest
import scipy.stats

from noisereg.report.groups.means import paired_means

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
    table = paired_means(rows((named[0] | {"p": 0.0}, QUIET), (named[1] | {"p": 0.2}, NOISY)), ["x"])
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


def test_without_metrics_there_are_no_rows():
    assert paired_means(rows(({"p": 0.0}, QUIET)), []).empty
