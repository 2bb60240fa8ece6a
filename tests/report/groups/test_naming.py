import pandas as pd

from noisereg.report.groups.naming import AnalysedNetwork, networks_by_name, rows_by_name


def network(**replica):
    return AnalysedNetwork({"seed": 0, **replica}, {})


def test_seeds_of_one_p_stand_together():
    networks = [network(p=0.0), network(p=0.2), network(p=0.2, seed=1)]
    assert networks_by_name(networks) == {"p = 0": networks[:1], "p = 0.2": networks[1:]}


def test_networks_are_told_apart_by_all_that_differs_and_nothing_else():
    networks = [network(arm=arm, p=p, lr=0.1) for arm in ("resample", "flip") for p in (0.1, 0.2)]
    assert list(networks_by_name(networks)) == [
        "resample, p = 0.1",
        "resample, p = 0.2",
        "flip, p = 0.1",
        "flip, p = 0.2",
    ]
    assert list(networks_by_name([network(p=0.1, lr=0.1), network(p=0.1, lr=0.3)])) == [
        "learning rate 0.1",
        "learning rate 0.3",
    ]


def test_rows_that_are_alike_have_no_words():
    rows = pd.DataFrame({"p": [0.2, 0.2], "seed": [0, 1]})
    ((words, own),) = rows_by_name(rows).items()
    assert (words, own["seed"].tolist()) == ("", [0, 1])


def test_no_rows_are_lost_whose_values_are_near_or_missing():
    rows = pd.DataFrame({"lr": [0.10000001, 0.10000002, None], "seed": 0})
    names = rows_by_name(rows)
    assert list(names) == ["learning rate 0.10000001", "learning rate 0.10000002", "learning rate nan"]
    assert sum(map(len, names.values())) == 3
