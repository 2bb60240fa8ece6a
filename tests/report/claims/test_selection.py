import math
import warnings

import pandas as pd
import pytest
import scipy.stats

from noisereg.report.claims.selection import NothingSelectedError, Selection, check_only_seeds_differ, pairs

ENDS = pd.DataFrame(
    {
        "arm": ["a", "a", "a", "b", "b", "b"],
        "p": [0.0, 0.2, 0.2, 0.0, 0.2, 0.2],
        "seed": [0, 0, 1, 0, 0, 1],
        "x": [1.0, 2.0, 3.0, 4.0, 5.0, math.nan],
    }
)
CURVES = pd.DataFrame(
    {
        "step": [0, 10, 20, 30, 0, 10],
        "epoch": [0, 1, 2, 3, 0, 1],
        "p": 0.2,
        "seed": [0, 0, 0, 0, 1, 1],
        "x": [7.0, 9.0, math.nan, 4.0, 5.0, 6.0],
        "late": [math.nan, 1.0, 1.0, 1.0, 2.0, 2.0],
    }
)

KINDS = {"text": "1", "number": 1, "flag": True}


def values(selection, metric="x", replicas=ENDS, curves=CURVES):
    return Selection().but(selection).values(metric, replicas=replicas, curves=curves)["value"].tolist()


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"p": 0.2}, [2, 3, 5]),
        ({"p": 0.2, "arm": "a"}, [2, 3]),
        ({"p": 0, "at": "end"}, [1, 4]),
        ({"seed": 1}, [3]),
    ],
)
def test_a_selection_at_the_end_takes_the_replicas_that_answer_to_it(selection, expected):
    assert values(selection) == expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("start", [7, 5]),
        ("lowest", [4, 5]),
        ("highest", [9, 6]),
        (0, [7, 5]),
        (1, [9, 6]),
        (3, [4]),  # the second replica ended before it
    ],
)
def test_a_moment_takes_the_measurement_it_names(at, expected):
    assert sorted(values({"at": at})) == sorted(expected)


def test_what_was_not_measured_at_the_start_is_not_taken_from_later():
    assert values({"at": "start"}, "late") == [2]


def test_a_replica_stays_named_in_its_row():
    table = Selection().but({"p": 0.2, "at": "highest"}).values("x", replicas=ENDS, curves=CURVES)
    assert table.set_index(["p", "seed"])["value"].to_dict() == {(0.2, 0): 9.0, (0.2, 1): 6.0}


def test_a_number_matches_to_a_billionth_of_its_size():
    frame = pd.DataFrame({"p": [0.1 + 0.2, 0.3 * (1 + 1e-8)], "seed": [0, 1]})
    assert Selection({"p": 0.3}).rows(frame)["seed"].tolist() == [0]


def test_seeds_of_many_digits_are_told_apart():
    seeds = [2024010101, 2024010102, 2**53, 2**53 + 1]
    rows = pd.DataFrame({"seed": seeds, "x": [1.0, 2.0, 3.0, 4.0]})
    found = [Selection({"seed": seed}).rows(rows)["x"].tolist() for seed in seeds]
    assert found == [[1.0], [2.0], [3.0], [4.0]]


def test_a_text_is_not_its_number_and_a_flag_is_not_one():
    frame = pd.DataFrame({"text": ["1", "2"], "number": [1, 2], "flag": [True, False], "seed": [0, 1]})
    assert [Selection({name: value}).rows(frame)["seed"].tolist() for name, value in KINDS.items()] == [[0]] * 3
    for name, other in [("text", 1), ("number", "1"), ("number", True), ("flag", 1)]:
        with pytest.raises(NothingSelectedError, match=f"no replica has {name} = {other}; there are"):
            Selection({name: other}).rows(frame)


@pytest.mark.parametrize(
    ("selection", "metric", "message"),
    [
        ({"p": 0.3}, "x", r"no replica has p = 0.3; there are 0, 0.2"),
        ({"arm": "a", "p": 1}, "x", r"no replica has p = 1; there are 0, 0.2"),
        ({"lr": 0.1}, "x", "no replica has the column lr"),
        ({}, "y", "no replica has the column y"),
        ({"at": 0}, "y", "no curve has the column y"),
        ({"at": 50}, "x", "x was not measured at epoch 50$"),
        ({"at": 0.5}, "x", "x was not measured at epoch 0.5, but at 1"),
        ({"at": 2}, "x", "x was not measured at epoch 2, but at 3"),  # what is later is another number
        ({"arm": "b", "seed": 1}, "x", "x was not measured at the end"),
    ],
)
def test_a_selection_that_nothing_answers_to_says_what_there_is(selection, metric, message):
    with pytest.raises(NothingSelectedError, match=message):
        values(selection, metric)


@pytest.mark.parametrize(("at", "message"), [("end", "there are no replicas"), ("start", "there are no curves")])
def test_a_selection_from_nothing_says_so(at, message):
    with pytest.raises(NothingSelectedError, match=message):
        values({"at": at}, replicas=ENDS.iloc[:0], curves=CURVES.iloc[:0])


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([0.2], r"of must be a mapping such as \{p: 0.2, at: end\}, got \[0.2\]"),
        ({"p": [0, 0.2]}, r"of.p must be a number or a text, got \[0, 0.2\]"),
        ({"p": None}, "of.p must be a number or a text, got None"),
        ({"p": math.nan}, "of.p must be a number or a text, got nan"),
        ({"at": "ende"}, "of.at must be one of end, start, lowest, highest, rise, or an epoch, got 'ende'"),
        ({"at": -1}, "of.at must be one of end, start, lowest, highest, rise, or an epoch, got -1"),
        ({"metric": 3}, "of.metric must be the name of a metric, got 3"),
        ({"at": True}, "of.at must be one of end, start, lowest, highest, rise, or an epoch, got True"),
    ],
)
def test_a_mapping_that_selects_nothing_is_refused(mapping, message):
    with pytest.raises(ValueError, match=message):
        Selection().but(mapping)


def test_another_selection_inherits_what_it_does_not_name():
    selection = Selection().but({"p": 0.2, "arm": "a", "at": "start"})
    assert selection.but({"p": 0}) == Selection({"p": 0, "arm": "a"}, "start")
    assert selection.but({"at": 5}) == Selection({"p": 0.2, "arm": "a"}, 5)


def test_a_selection_may_be_of_another_metric():
    ends = ENDS.assign(y=10 * ENDS["x"])
    assert values({"p": 0.2, "arm": "a", "metric": "y"}, replicas=ends) == [20, 30]
    assert Selection().but({"p": 0.2, "metric": "y"}).but({"p": 0}).words == "y, p = 0, at the end"
    with pytest.raises(NothingSelectedError, match="no replica has the column z"):
        values({"metric": "z"})


def test_the_words_name_every_column_and_the_moment():
    assert Selection().but({}).words == "at the end"
    assert Selection().but({"arm": "hinge", "p": 0.5, "at": 100}).words == "arm = hinge, p = 0.5, at epoch 100"
    assert Selection().but({"at": "lowest"}).words == "at its lowest"


def side(**columns):
    return pd.DataFrame(columns)


def test_pairs_are_of_the_same_seed_and_one_without_a_partner_is_left_out():
    left = side(arm="a", p=0.2, seed=[0, 1, 2], value=[1.0, 2.0, 3.0])
    right = side(p=0.0, seed=[2, 0, 3], value=[30.0, 10.0, 40.0])
    assert pairs(left, right).to_dict("list") == {"seed": [0, 2], "left": [1, 3], "right": [10, 30]}


@pytest.mark.parametrize("right", [side(seed=[0], value=[1.0]), side(value=[1.0])])
def test_selections_without_a_common_seed_make_no_pair(right):
    with pytest.raises(NothingSelectedError, match="the selections share no seed"):
        pairs(side(seed=[1], value=[1.0]), right)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (side(p=[0.0, 0.2], seed=[3, 3]), "a mean must be over seeds alone, got p = 0, 0.2; name one p"),
        (side(p=0.2, lr=[0.1, 0.1, 0.2], seed=[0, 1, 2]), "got lr = 0.1, 0.2; name one lr"),
        (side(arm=["a", "b"], p=0.2, seed=0), "got arm = a, b; name one arm"),
        (side(p=0.2, seed=[4, 4]), "a mean must be over different seeds, got seed 4 twice"),
    ],
)
def test_replicas_that_differ_in_more_than_their_seed_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        check_only_seeds_differ(rows)


def test_replicas_of_one_p_and_different_seeds_pass():
    check_only_seeds_differ(side(arm="a", p=0.2, lr=0.1, seed=[0, 1]))


def test_a_star_is_the_mean_of_all_columns_that_begin_so():
    rows = pd.DataFrame(
        {"p": [0.0, 0.2], "seed": 0, "active/1.a": [0.5, 0.1], "active/1.b": [0.3, 0.3], "active/2": 9.0}
    )
    assert values({}, "active/1.*", rows) == pytest.approx([0.4, 0.2])
    curves = rows.assign(step=[0, 1], epoch=[0, 1], seed=[0, 0])[
        ["p", "seed", "step", "epoch", "active/1.a", "active/1.b"]
    ]
    assert values({"p": 0.2, "at": "lowest"}, "active/*", rows, curves) == pytest.approx([0.2])


def test_a_star_over_many_columns_that_came_one_by_one_gives_no_warning():
    rows = ENDS[["p", "seed"]].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
        for layer in range(120):
            rows[f"active/{layer}"] = 0.5
    assert values({}, "active/*", rows) == pytest.approx([0.5] * 6)


def test_a_star_without_columns_or_with_one_unmeasured_has_no_value():
    rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "active/a": [0.5, 0.1], "active/b": [0.3, math.nan]})
    assert values({}, "active/*", rows) == pytest.approx([0.4])
    with pytest.raises(NothingSelectedError, match=r"no replica has the column norm/\*"):
        values({}, "norm/*", rows)


COURSES = pd.DataFrame(
    {
        "epoch": [0, 1, 2, 3, 4, 0, 1, 2, 3, 4],
        "p": 0.2,
        "seed": [0] * 5 + [1] * 5,
        "x": [5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 3.0, 2.0, 5.0, math.nan],
        "y": [9.0, 7.0, 1.0, 2.0, 0.5, 2.0, 1.0, 3.0, 8.0, 9.0],
    }
)


@pytest.mark.parametrize(("at", "first"), [("end", 0), (1, 1)])
def test_the_rank_correlation_of_two_courses_is_scipys(at, first):
    found = Selection().but({"p": 0.2, "at": at}).rank_correlations("x", "y", curves=COURSES)
    for seed, value in zip(found["seed"], found["value"], strict=True):
        mine = COURSES[(COURSES["seed"] == seed) & (COURSES["epoch"] >= first)].dropna()
        assert value == pytest.approx(scipy.stats.spearmanr(mine["x"], mine["y"]).statistic)


def test_an_infinite_value_has_the_highest_rank():
    rows = COURSES[:4].assign(x=[1.0, math.inf, 3.0, 4.0], y=[1.0, 2.0, 3.0, 4.0])
    (value,) = Selection().rank_correlations("x", "y", curves=rows)["value"]
    assert value == pytest.approx(0.4)  # ranks 1, 4, 2, 3 beside 1, 2, 3, 4: 1 - 6 · 6 / (4 · 15)


def test_there_is_no_rank_correlation_of_two_measurements_or_of_a_constant():
    few = Selection().but({"at": 3}).rank_correlations("x", "y", curves=COURSES)
    assert few["value"].isna().all()
    constant = Selection().rank_correlations("x", "y", curves=COURSES.assign(y=1.0))
    assert constant["value"].isna().all()
    with pytest.raises(NothingSelectedError, match="no curve has the column z"):
        Selection().rank_correlations("x", "z", curves=COURSES)
