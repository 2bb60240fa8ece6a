import pandas as pd
from report.analysis_material import LAYERS, active

from noisereg.report.page.layer_table import layer_tables

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


def test_tables_have_a_row_for_each_layer_in_the_order_of_the_network():
    test, train = layer_tables(arms())
    assert [table["title"] for table in (test, train)] == [
        f"Active units of each layer, {split} (95 % t intervals over 3 seeds)" for split in ("test", "train")
    ]
    assert [row[0] for row in test["rows"]] == list(LAYERS)
    assert test["header"] == ["layer", "none (%)", "smoothing (%)", "smoothing less p = 0 (points)"]
    assert test["rows"][0][1] == "52 (47.03 to 56.97)"  # 4.303 standard errors of 1.155 either side


def test_an_interval_ends_at_what_is_possible():
    """Of 0 and 10 % it is 5 ± 12.706 · 5; of the differences to 50 % likewise."""
    (row, *_), _ = (table["rows"] for table in layer_tables(arms(quiet=[0.5, 0.5], noisy=[0.0, 0.1])))
    assert row == ["relu", "50 (50 to 50)", "5 (0 to 68.53)", "-45 (-100 to 18.53)"]


def test_one_seed_has_no_interval():
    table = layer_tables(arms(quiet=[0.5], noisy=[0.25]))[0]
    assert table["title"].endswith("(one seed)")
    assert table["rows"][0] == ["relu", "50", "25", "-25"]


def test_a_mean_of_fewer_replicas_than_there_are_says_so():
    rows = arms()
    rows.loc[(rows["arm"] == "smoothing") & (rows["seed"] > 0), "test/active_fraction/relu"] = None
    test, train = layer_tables(rows)
    assert test["header"][1:] == [
        *("none (%)", "smoothing (%, 1 of 3 replicas)", "smoothing less p = 0 (points, 1 pairs)"),
    ]
    assert train["header"][1:] == ["none (%)", "smoothing (%)", "smoothing less p = 0 (points)"]


def test_a_mean_of_fewer_replicas_than_another_says_so():
    """Of seeds 0 to 2 without noise and 1 to 2 with it."""
    rows = arms()
    table = layer_tables(rows[(rows["p"] == 0) | (rows["seed"] > 0)])[0]
    assert "over 3 seeds" in table["title"]
    assert table["header"][1:] == [
        *("none (%)", "smoothing (%, 2 replicas)", "smoothing less p = 0 (points, 2 pairs)"),
    ]


def test_few_layers_or_one_network_have_no_table():
    assert layer_tables(arms()[arms()["p"] == 0]) == []
    few = arms().drop(columns=[f"{split}/active_fraction/relu" for split in ("test", "train")])
    assert layer_tables(few) == []
    assert layer_tables(pd.DataFrame({"p": [0.0, 0.1], "seed": 0, "test/error": 0.5})) == []
    assert layer_tables(pd.DataFrame()) == []


def test_a_table_above_a_threshold_says_which():
    rows = arms().rename(columns=lambda name: name.replace("active_fraction", "active_fraction_above_0.1_of_rms"))
    assert [table["title"].partition(" (")[0] for table in layer_tables(rows)] == [
        f"Active units of each layer, {split}, above 0.1 of rms" for split in ("test", "train")
    ]
    assert layer_tables(rows)[0]["rows"] == layer_tables(arms())[0]["rows"]
