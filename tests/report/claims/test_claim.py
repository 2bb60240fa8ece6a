import math
import subprocess
import sys

import pytest
import yaml

from noisereg.config.composing import conf_dir
from noisereg.report.claims.claim import Claim
from noisereg.report.claims.selection import Selection
from noisereg.report.claims.stated import is_component
from noisereg.report.claims.verdicts import judge
from noisereg.report.figures.panel import PanelSpec

LEAST = {"id": "F1", "metric": "test/error", "paper": 0.21}


def test_a_claim_has_defaults_for_all_that_is_not_given():
    claim = Claim.of(LEAST)
    assert claim == Claim(
        id="F1",
        metric="test/error",
        of=Selection({}, "end"),
        says="",
        place="",
        minus=None,
        over=None,
        factor=1,
        unit="",
        paper=0.21,
        predicted=None,
        tolerance=0.15,
        similar_to=None,
        margin=None,
        below=None,
        above=None,
        smallest_effect=0,
        every=False,
        note="",
    )


def test_a_claim_about_another_measurement_than_the_last_says_so():
    claim = Claim.of(LEAST | {"metric": "best/test/error", "of": {"p": 0}})
    assert claim.words == "best/test/error (at the epoch where it is lowest): p = 0, at the end"


def test_null_is_as_good_as_nothing():
    nothing = dict.fromkeys(("of", "says", "minus", "over", "predicted", "tolerance", "below", "every", "note", "unit"))
    assert Claim.of(LEAST | nothing) == Claim.of(LEAST)


def test_every_key_reaches_its_field():
    given = {
        "id": "F3a",
        "says": "The norm falls.",
        "place": "figure 3a",
        "metric": "norm/hidden",
        "of": {"arm": "hinge", "at": 100},
        "over": {"at": "start"},
        "factor": 100,
        "unit": "%",
        "predicted": 0.02,
        "tolerance": 0,
        "margin": 0.01,
        "below": 0.08,
        "above": {"arm": "logistic"},
        "smallest_effect": 0.02,
        "every": True,
        "note": "ours is longer",
    }
    claim = Claim.of(given)
    assert claim.selected == Selection({"arm": "hinge"}, 100)
    assert {key: getattr(claim, key) for key in given if key != "of"} == {k: v for k, v in given.items() if k != "of"}
    assert claim.words == "norm/hidden: arm = hinge, at epoch 100; over arm = hinge, at the start"
    assert claim.shown(0.0123456) == "1.235 %"
    assert claim.directions == {"below": 0.08, "above": {"arm": "logistic"}}


@pytest.mark.parametrize(("paper", "number"), [(0.21, 0.21), (None, 0.3), (0.0, 0.0)])  # a number of 0 counts
def test_the_number_is_the_papers_or_else_the_theorys(paper, number):
    assert Claim.of(LEAST | {"paper": paper, "predicted": 0.3, "margin": 0.1}).number == number


@pytest.mark.parametrize("key", ["predicted", "below", "above"])
def test_a_number_may_be_a_component_before_the_run(key):
    component = {"_target_": "noisereg.theory.neuron_slope", "lr": 0.01}
    claim = Claim.of(LEAST | {key: component})
    assert getattr(claim, key) == component
    assert is_component(component)
    assert not is_component({"p": 0})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"id": None}, "claim without id: id is missing: it must be a text that is not empty"),
        ({"metric": None}, "claim 'F1': metric is missing: it must be a text that is not empty"),
        ({"id": ""}, "claim '': id must be a text that is not empty, got ''"),
        ({"id": 3}, "claim 3: id must be a text that is not empty, got 3"),
        ({"metric": ["a"]}, r"metric must be a text that is not empty, got \['a'\]"),
        ({"says": 3}, "says must be a text, got 3"),
        ({"place": 3}, "place must be a text, got 3"),
        ({"unit": 3}, "unit must be a text, got 3"),
        ({"note": 3}, "note must be a text, got 3"),
        ({"of": "hinge"}, "of must be a mapping such as {p: 0.2, at: end}, got 'hinge'"),
        ({"of": {"at": "now"}}, "of.at must be one of end, start, lowest, highest, rise, or an epoch, got 'now'"),
        ({"of": {"metric": "y"}}, "of.metric is no key of a claim; give metric beside of"),
        ({"minus": 0}, "minus must be a mapping such as {p: 0.2, at: end}, got 0"),
        ({"minus": {"p": [0]}}, r"minus.p must be a number or a text, got \[0\]"),
        ({"over": 0}, "over must be a mapping such as {p: 0.2, at: end}, got 0"),
        ({"over": {"at": ""}}, "over.at must be one of end, start, lowest, highest, rise, or an epoch, got ''"),
        ({"minus": {"p": 0}, "over": {"p": 0}}, "minus and over exclude each other; keep one"),
        ({"factor": 0}, "factor must be a finite number above 0, got 0"),
        ({"factor": "100"}, "factor must be a finite number above 0, got '100'"),
        ({"tolerance": -0.1}, r"tolerance must be a share, at least 0 and below 1 \(0.15 is 15 %\), got -0.1"),
        ({"tolerance": 15}, r"tolerance must be a share, at least 0 and below 1 \(0.15 is 15 %\), got 15"),
        ({"paper": "49 %"}, "paper must be a finite number, got '49 %'"),
        ({"paper": True}, "paper must be a finite number, got True"),
        ({"paper": math.inf}, "paper must be a finite number, got inf"),
        ({"predicted": math.nan}, "predicted must be a finite number, or a component with _target_, got nan"),
        ({"predicted": {"p": 0}}, "predicted must be a finite number, or a component with _target_, got {'p': 0}"),
        ({"below": "0.5"}, "below must be a finite number, a selection such as {p: 0}, or a component .*, got '0.5'"),
        ({"above": math.nan}, "above must be a finite number, a selection such as {p: 0}, or a component .*, got nan"),
        ({"above": {"at": "now"}}, "above.at must be one of end, start, lowest, highest, rise, or an epoch, got 'now'"),
        ({"paper": None}, "it claims nothing; give paper, predicted, similar_to, below or above"),
        ({"every": 1}, "every must be true or false, got 1"),
        ({"every": True}, "every needs below or above"),
        ({"smallest_effect": 0.1}, "smallest_effect needs below or above"),
        ({"smallest_effect": -0.1, "below": 1}, "smallest_effect must be a finite number, at least 0, got -0.1"),
        ({"similar_to": 1, "margin": 0.1}, "similar_to excludes paper and predicted; make two claims of them"),
        ({"paper": None, "similar_to": 1}, "similar_to needs margin, how far apart two values may be that are similar"),
        ({"paper": None, "similar_to": "1"}, "similar_to must be a finite number, a selection such as {p: 0}, or a"),
        ({"paper": None, "below": 1, "margin": 0.1}, "margin needs similar_to, paper or predicted"),
        ({"margin": 0}, "margin must be a finite number above 0, got 0"),
        ({"paper": 0}, "a tolerance is a share of the number, and of 0 there is none; give margin"),
        ({"belw": 0.5}, "claim 'F1': belw is no key of a claim; did you mean below?"),
        ({"selected": {}}, "selected is no key of a claim; there are id, metric, of, says"),
    ],
)
def test_a_wrong_claim_is_refused_in_one_line(given, message):
    with pytest.raises(ValueError, match=message) as refused:
        Claim.of(LEAST | given)
    assert "\n" not in str(refused.value)


def test_a_claim_without_id_is_named_so():
    with pytest.raises(ValueError, match="claim without id: id is missing: it must be a text"):
        Claim.of({"metric": "x", "paper": 1})


@pytest.mark.parametrize("path", sorted((conf_dir() / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_claim_and_panel_of_our_experiments_is_right(path):
    experiment = yaml.safe_load(path.read_text())["experiment"]
    claims = [Claim.of(claim) for claim in experiment.get("claims", [])]
    panels = [PanelSpec.of(panel) for panel in experiment.get("figure", [])]
    assert claims or panels or experiment["checks"]
    assert experiment["primary"] in [claim.id for claim in claims] or "checks" in experiment


@pytest.mark.parametrize("path", sorted((conf_dir() / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_direction_of_our_experiments_states_the_smallest_effect_of_interest(path):
    for claim in map(Claim.of, yaml.safe_load(path.read_text())["experiment"].get("claims", [])):
        nothing = 1 if claim.over is not None else 0  # the difference or ratio of equal values
        compared = [bound for bound in claim.directions.values() if isinstance(bound, dict) or bound == nothing]
        assert claim.smallest_effect > 0 or not compared, claim.id


def test_what_is_no_mapping_is_no_claim():
    with pytest.raises(ValueError, match="a claim must be a mapping with id, metric and more, got 'F1'"):
        Claim.of("F1")


def test_reading_claims_loads_no_training_library():
    script = (
        "import sys, noisereg.report.claims.claim; print(*{'torch', 'lightning', 'hydra', 'wandb'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == []


def test_a_difference_is_compared_with_the_difference_in_another_metric():
    shares = {"none": (0.5, 0.6), "smoothing": (0.45, 0.3)}  # of a first and a last layer: 5 and 30 points less
    replicas = [
        {"arm": arm, "p": p, "seed": seed, "first": first, "last": last + seed / 100}
        for p, (arm, (first, last)) in zip((0.0, 0.1), shares.items(), strict=True)
        for seed in range(3)
    ]
    claim = {"id": "F7b", "of": {"arm": "none"}, "minus": {"arm": "smoothing"}, "factor": 100, "unit": "points"}
    deeper, shallower = judge(
        [
            claim | {"metric": metric, "above": {"metric": other}}
            for metric, other in (("last", "first"), ("first", "last"))
        ],
        replicas=replicas,
    )
    assert (deeper.verdict, deeper.mean) == ("reproduced", pytest.approx(0.30))
    assert deeper.why.startswith("the difference to first, arm = none, at the end, is 25 points")
    assert (shallower.verdict, shallower.mean) == ("not reproduced", pytest.approx(0.05))
