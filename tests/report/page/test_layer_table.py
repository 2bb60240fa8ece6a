import pandas as pd
import pytest
import scipy.stats
from report.analysis_material import LAYERS, active

from noisereg.report.page.layer_table import layer_rows, layer_tables

QUIET, NOISY = [0.50, 0.54, 0.52], [0.40, 0.41, 0.45]


def rows(*cells):
    """One row for each (columns, active fraction of all layers); seeds count up within the same columns."""
    seen = []
    for columns, share in cells:
        seen.append(columns)
        yield {**columns, "seed": seen.count(columns) - 1, **active(*[share] * 5)}


def arms(quiet=QUIET, noisy=NOISY):
    none, smoothing = {"arm": "none", "p": 0.0}, {"arm": "smoothing", "p": 0.1}
    return pd.DataFrame(rows(*((none, share) for share in quiet), *((smoothing, share) for share in noisy)))


def test_a_layer_has_the_mean_of_each_arm_and_the_paired_difference_to_none():
    table = layer_rows(arms(), "test").set_index(["network", "layer"])
    none, smoothing = (table.loc[(name, "relu")] for name in ("none", "smoothing"))
    assert (none["mean"], smoothing["mean"]) == pytest.approx((0.52, 0.42))
    alone = scipy.stats.ttest_1samp(NOISY, 0).confidence_interval()
    paired = scipy.stats.ttest_rel(NOISY, QUIET).confidence_interval()
    assert (smoothing["low"], smoothing["high"]) == pytest.approx((alone.low, alone.high))
    assert smoothing["difference"] == pytest.approx(-0.10)
    assert (smoothing["difference_low"], smoothing["difference_high"]) == pytest.approx((paired.low, paired.high))
    assert (smoothing["n"], smoothing["pairs"], none["pairs"]) == (3, 3, 0)


def test_a_seed_without_a_partner_is_left_out_of_the_difference():
    table = layer_rows(arms(quiet=QUIET[:2]), "test")
    last = table[table["network"] == "smoothing"].iloc[0]
    assert (last["n"], last["pairs"]) == (3, 2)
    assert last["difference"] == pytest.approx((0.40 - 0.50 + 0.41 - 0.54) / 2)


def test_an_arm_with_its_own_p_zero_is_compared_with_that():
    cells = [({"arm": arm, "p": p}, base + p) for arm, base in (("a", 0.1), ("b", 0.4)) for p in (0.0, 0.25)]
    table = layer_rows(pd.DataFrame(rows(*cells)), "train").groupby("network", sort=False)["difference"].first()
    assert table.fillna(0).to_dict() == pytest.approx(
        {"a, p = 0": 0, "a, p = 0.25": 0.25, "b, p = 0": 0, "b, p = 0.25": 0.25}
    )


def test_an_arm_is_not_compared_with_one_of_two_others():
    cells = [({"arm": arm, "p": p}, 0.5) for arm, p in (("a", 0.0), ("b", 0.0), ("c", 0.1))]
    assert layer_rows(pd.DataFrame(rows(*cells)), "test")["pairs"].sum() == 0


def test_a_rate_is_compared_with_the_same_rate():
    cells = [({"lr": lr, "p": p}, lr + p) for lr, p in ((0.1, 0.0), (0.3, 0.0), (0.3, 0.2), (0.5, 0.2))]
    table = layer_rows(pd.DataFrame(rows(*cells)), "test")
    changed = table[table["pairs"] > 0]
    assert set(changed["network"]) == {"p = 0.2, learning rate 0.3"}
    assert changed["difference"].tolist() == pytest.approx([0.2] * 5)


def test_tables_have_a_row_for_each_layer_in_the_order_of_the_network():
    test, train = layer_tables(arms())
    assert [table["title"] for table in (test, train)] == [
        f"Active units of each layer, {split} (95 % t intervals over 3 seeds)" for split in ("test", "train")
    ]
    assert [row[0] for row in test["rows"]] == list(LAYERS)
    assert test["header"] == ["layer", "none (%)", "smoothing (%)", "smoothing less p = 0 (points)"]
    assert test["rows"][0][1] == "52 (47.03 to 56.97)"  # 4.303 standard errors of 1.155 either side


def test_one_seed_has_no_interval():
    table = layer_tables(arms(quiet=[0.5], noisy=[0.25]))[0]
    assert table["title"].endswith("(one seed)")
    assert table["rows"][0] == ["relu", "50", "25", "-25"]


def test_few_layers_or_one_network_have_no_table():
    assert layer_tables(arms()[arms()["p"] == 0]) == []
    few = arms().drop(columns=[f"{split}/active_fraction/relu" for split in ("test", "train")])
    assert layer_tables(few) == []
    assert layer_tables(pd.DataFrame({"p": [0.0, 0.1], "seed": 0, "test/error": 0.5})) == []
    assert layer_tables(pd.DataFrame()) == []
