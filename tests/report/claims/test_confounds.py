import pandas as pd
import pytest

from noisereg.report.claims.claim import Claim
from noisereg.report.claims.confounds import describe_confounds

REPLICAS = pd.DataFrame(
    {
        "p": [0.0, 0.0, 0.2, 0.2],
        "seed": [0, 1, 0, 1],
        "train/active_neurons": [120.0, 118.0, 40.0, 38.0],
        "test/error": [0.40, 0.42, 0.10, 0.30],
        "train/clean_loss": [0.5, 0.7, 1.5, 2.5],
        "train/loss": [9.0, 9.0, 9.0, 9.0],
        "epochs": [1000, 1000, 500, 1000],
    }
)
CURVES = pd.concat([REPLICAS.assign(step=0, epoch=0), REPLICAS.assign(step=9, epoch=50, **{"test/error": 0.25})])
NEURONS = {"id": "F1", "metric": "train/active_neurons", "of": {"p": 0.2}}


def beside(replicas=REPLICAS, **claim):
    return describe_confounds(Claim(**NEURONS | claim), {"replicas": replicas, "curves": CURVES}, n=2)


@pytest.mark.parametrize("how", ["below", "above", "minus", "over", "similar_to"])
def test_both_sides_have_the_means_of_their_test_error_training_loss_and_epochs(how):
    needed = {"minus": {"below": 0}, "over": {"below": 1}, "similar_to": {"margin": 1}}.get(how, {})
    expected = "test error 20 and 41 %; train loss, clean labels 2 and 0.6; epochs 750 and 1000"
    assert beside(**{how: {"p": 0}}, **needed) == expected


def test_means_over_other_replicas_than_those_of_the_claim_say_over_how_many():
    one_lacks = REPLICAS.assign(**{"test/error": [0.40, 0.42, 0.10, None]})
    assert beside(one_lacks, below={"p": 0}) == (
        "test error 10 and 41 % (n 1 and 2); train loss, clean labels 2 and 0.6; epochs 750 and 1000"
    )
    another = pd.DataFrame({"p": [0.0], "seed": 2, "train/active_neurons": 99.0, "test/error": 0.53, "epochs": 1000})
    found = beside(pd.concat([REPLICAS, another]), below={"p": 0})  # of which no pair is
    assert found.startswith("test error 20 and 45 % (n 2 and 3); train loss")


def test_a_moment_of_the_training_is_that_of_all_numbers():
    assert beside(of={"p": 0.2, "at": 50}, below={"p": 0}).startswith("test error 25 and 25 %; train loss")


def test_the_loss_as_trained_stands_in_where_that_on_clean_labels_was_not_measured():
    found = beside(REPLICAS.drop(columns=["train/clean_loss", "epochs"]), below={"p": 0})
    assert found == "test error 20 and 41 %; train loss, as trained 9 and 9"


def test_the_number_that_is_compared_is_not_said_again():
    assert beside(metric="test/error", below={"p": 0}).startswith("train loss, clean labels 2 and 0.6")


@pytest.mark.parametrize("claim", [{"paper": 47}, {"below": 50}, {"of": {"p": 0.2, "at": "lowest"}, "below": {"p": 0}}])
def test_a_claim_that_compares_no_replicas_at_one_moment_has_none(claim):
    assert beside(**claim) == ""


def test_what_was_not_measured_on_each_side_is_left_out():
    replicas = REPLICAS.assign(**{"test/error": [0.4, 0.42, None, None]})
    assert beside(replicas, below={"p": 0}) == "train loss, clean labels 2 and 0.6; epochs 750 and 1000"
