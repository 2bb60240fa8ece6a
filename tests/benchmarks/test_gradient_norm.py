import pytest

from benchmarks import gradient_norm


def test_the_share_is_what_the_norm_adds_to_all_that_is_done_between_two_evaluations():
    cost = gradient_norm.Cost(train=[90.0, 45.0], plain=[10.0, 5.0], whole=[13.0, 6.0])
    assert cost.shares() == pytest.approx([3 / 100, 1 / 50])


def test_a_line_is_printed_for_an_experiment(capsys):
    gradient_norm.main(["fig1_hypercube", "--rounds", "1", "--share", "0.01"])
    assert capsys.readouterr().out.startswith("fig1_hypercube: training ")
