import io

import numpy as np
import pandas as pd

from noisereg.report.figures.histogram_panel import histogram_chart, histogram_rows

DEAD, ONE, EVEN, TWICE = [0, 0, 0], [9, 0, 0], [5, 5, 5], [2, 1, 4]
FIRES = np.array([DEAD, ONE, EVEN, TWICE]).T


def test_each_neuron_is_drawn_once_with_its_counts():
    rows = histogram_rows(FIRES, 30)
    assert rows["neuron"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    counts = {unit: part["fires"].tolist() for unit, part in rows.groupby("unit")}
    assert counts == {0: DEAD, 1: ONE, 2: EVEN, 3: TWICE}


def test_the_bar_of_an_associated_class_is_marked():
    marked = histogram_rows(FIRES, 30).query("associated")
    assert sorted(zip(marked["unit"], marked["class"], strict=True)) == [(1, 0), (3, 2)]


def test_the_choice_is_random_but_always_the_same():
    fires = np.arange(6000).reshape(10, 600)
    units = histogram_rows(fires, 30)["unit"].unique()
    assert len(units) == 30
    assert 100 < units.mean() < 500  # 300 with a standard error of 31
    assert (histogram_rows(fires, 30)["unit"].unique() == units).all()


def test_the_chart_has_six_histograms_a_row_and_counts_all_neurons():
    chart = histogram_chart(FIRES, neurons=2, title="p = 0").to_dict()
    assert chart["columns"] == 6
    assert chart["title"] == "p = 0: 2 of 4 neurons associated with a class"
    (data,) = chart["datasets"].values()
    assert pd.read_csv(io.StringIO(data))["neuron"].unique().tolist() == [1, 2]
