import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from noisereg.report.claims.claim import Claim
from noisereg.report.claims.verdicts import RULE, VERDICTS, judge

# of 1, 2, 3 the mean is 2 and the 95 % interval 2 ± 4.3027 / √3 = -0.484 ... 4.484
HALF = scipy.stats.t.ppf(0.975, df=2) / math.sqrt(3)


def rows(**by_p):
    """Return replicas with x = the given values for the seeds 0, 1, ...; p0=[...] is p = 0, p2=[...] is p = 0.2."""
    return [
        {"p": int(name[1:]) / 10, "seed": seed, "x": value}
        for name, values in by_p.items()
        for seed, value in enumerate(values)
    ]


def judged(claim, replicas, curves=None):
    (judgement,) = judge([{"id": "C1", "metric": "x", **claim}], replicas=replicas, curves=curves)
    return judgement


def test_a_judgement_has_the_mean_and_the_t_interval_of_the_selected_replicas():
    judgement = judged({"of": {"p": 0.2}, "paper": 2}, rows(p0=[9, 9, 9], p2=[1, 2, 3]))
    assert (judgement.mean, judgement.n) == (2, 3)
    assert (judgement.low, judgement.high) == pytest.approx((2 - HALF, 2 + HALF))


@pytest.mark.parametrize(
    ("values", "number", "tolerance", "verdict"),
    [
        ([1.0, 1.0, 1.0], 1.1, 0.1, "reproduced"),  # 0.1 away, 0.11 allowed
        ([1.0, 1.0, 1.0], 1.12, 0.1, "not reproduced"),  # 0.12 away, 0.112 allowed, and the interval has no width
        ([1.0, 1.0, 1.0], 1.0, 0.0, "reproduced"),
        ([-1.0, -1.0, -1.0], -1.1, 0.1, "reproduced"),
        ([-1.0, -1.0, -1.0], 1.0, 0.5, "not reproduced"),
        ([11.0, 12.0, 13.0], 12.0, 1.02 * HALF / 12, "reproduced"),
        ([11.0, 12.0, 13.0], 12.0, 0.98 * HALF / 12, "undecided"),  # the interval is wider than what is allowed
        ([11.0, 12.0, 13.0], 12.2, 1.01 * HALF / 12.2, "undecided"),  # the mean is inside, and it reaches out below
        ([1.0, 2.0, 3.0], 2 + 0.99 * HALF, 0.0, "undecided"),  # the interval holds it
        ([1.0, 2.0, 3.0], 2 + 1.01 * HALF, 0.0, "not reproduced"),
        ([10.0, 30.0], 94, 0.15, "undecided"),  # two seeds that differ hold any number
        ([10.0, 10.0], 10, 0.15, "undecided"),  # two are too few to meet a number
        ([10.0, 10.0], 94, 0.15, "not reproduced"),
        ([1.0], 1.0, 0.1, "not judged"),
        ([1.0], 1.2, 0.1, "not judged"),
    ],
)
@pytest.mark.parametrize("key", ["paper", "predicted"])
def test_a_number_is_met_if_the_whole_interval_lies_within_its_tolerance(key, values, number, tolerance, verdict):
    assert judged({key: number, "tolerance": tolerance}, rows(p0=values)).verdict == verdict


@pytest.mark.parametrize(
    ("values", "number", "verdict"),
    [
        ([0.0, 0.0, 0.0], 0, "reproduced"),
        ([0.3, 0.3, 0.3], 0, "not reproduced"),
        ([10.1, 10.1, 10.1], 10, "reproduced"),
        ([10.3, 10.3, 10.3], 10, "not reproduced"),  # 3 % off
        ([1.0, 2.0, 3.0], 2, "undecided"),
    ],
)
def test_a_margin_takes_the_place_of_the_tolerance(values, number, verdict):
    judgement = judged({"paper": number, "margin": 0.2, "tolerance": 0.5}, rows(p0=values))
    assert judgement.verdict == verdict
    assert ("0.2 of the paper's" in judgement.why) == (verdict != "not reproduced")


# of 1, 2, 3 the 90 % interval is 2 ± 2.92 / √3: of two degrees of freedom the 0.95 quantile is 0.9 √2 / √(1 - 0.9²)
NARROW = 0.9 * math.sqrt(2) / math.sqrt(1 - 0.9**2) / math.sqrt(3)


@pytest.mark.parametrize(
    ("values", "margin", "verdict"),
    [
        ([1.0, 2.0, 3.0], 1.01 * NARROW, "reproduced"),
        ([1.0, 2.0, 3.0], 0.99 * NARROW, "undecided"),  # the values are as large, and too few to say so
        ([5.0, 6.0, 7.0], 3.99 - NARROW, "not reproduced"),  # 4 above
        ([5.0, 6.0, 7.0], 4.01 - NARROW, "undecided"),
        ([-3.0, -2.0, -1.0], 3.99 - NARROW, "not reproduced"),  # 4 below
        ([2.0, 2.0, 2.0], 0.01, "reproduced"),
        ([2.0, 2.0], 0.01, "undecided"),  # two are too few
        ([2.0], 0.01, "not judged"),
    ],
)
def test_similarity_is_met_if_two_one_sided_tests_exclude_that_the_margin_is_exceeded(values, margin, verdict):
    assert judged({"similar_to": 2, "margin": margin}, rows(p0=values)).verdict == verdict


def test_no_difference_to_be_seen_is_no_similarity():
    replicas = rows(p0=[10.0, 20.0, 30.0], p2=[11.0, 18.0, 32.5])  # differences 1, -2, 2.5: not significant
    claim = {"of": {"p": 0.2}, "similar_to": {"p": 0}, "margin": 1}
    assert judged(claim, replicas).verdict == "undecided"
    near = rows(p0=[10.0, 20.0, 30.0], p2=[10.1, 20.2, 30.3])  # significant, and of no interest
    assert judged(claim, near).verdict == "reproduced"
    assert judged({"of": {"p": 0.2}, "above": {"p": 0}}, near).verdict == "undecided"  # 0.2 ± 0.25


def test_similar_ratios_are_compared_seed_by_seed():
    table = [
        {"arm": arm, "p": p, "seed": seed, "x": (10 + seed) * (share if p else 1)}
        for arm, share in (("both", 0.5), ("one", 0.52), ("other", 0.9))
        for p in (0.0, 0.2)
        for seed in range(3)
    ]
    claim = {"of": {"arm": "one", "p": 0.2}, "over": {"p": 0}, "similar_to": {"arm": "both"}, "margin": 0.05}
    assert judged(claim, table).verdict == "reproduced"
    other = judged(claim | {"of": {"arm": "other", "p": 0.2}}, table)
    assert (other.verdict, other.mean) == ("not reproduced", pytest.approx(0.9))
    assert other.why == (
        "the difference to arm = both, p = 0.2, at the end is 0.4: "
        "its 90 % interval, 0.4 to 0.4, lies outside of ± 0.05"
    )


@pytest.mark.parametrize(
    ("values", "claim", "verdict"),
    [
        ([1.0, 2.0, 3.0], {"below": 3 + 1.01 * HALF, "smallest_effect": 1}, "reproduced"),
        ([1.0, 2.0, 3.0], {"below": 3 + 0.99 * HALF, "smallest_effect": 1}, "undecided"),
        ([1.0, 2.0, 3.0], {"below": 3 - 1.01 * HALF, "smallest_effect": 1}, "not reproduced"),
        ([1.0, 2.0, 3.0], {"above": 1 - 1.01 * HALF, "smallest_effect": 1}, "reproduced"),
        ([1.0, 2.0, 3.0], {"above": 1 - 0.99 * HALF, "smallest_effect": 1}, "undecided"),
        ([2.0, 2.001, 1.999], {"below": 2.1, "smallest_effect": 0.2}, "not reproduced"),  # below it beyond all doubt
        ([1.0, 1.0, 1.0], {"below": 2, "smallest_effect": 1}, "reproduced"),  # as much as is of interest, or more
        ([1.0, 1.0, 1.0], {"above": 0, "smallest_effect": 1}, "reproduced"),
        ([1.0, 1.0, 0.5], {"below": 2, "smallest_effect": 1, "every": True}, "reproduced"),
        ([1.0, 1.0, 1.5], {"below": 2, "smallest_effect": 1, "every": True}, "not reproduced"),
        ([1.0, 2.0, 3.0], {"below": 5, "smallest_effect": 1, "every": True}, "reproduced"),
        ([1.0, 2.0, 3.6], {"below": 4.5, "smallest_effect": 1, "every": True}, "not reproduced"),
    ],
)
def test_a_direction_needs_an_effect_that_is_worth_the_name(values, claim, verdict):
    assert judged(claim, rows(p0=values)).verdict == verdict


def test_the_smallest_effect_is_one_of_differences_too():
    replicas = rows(p0=[10.0, 20.0, 30.0], p2=[9.9, 19.8, 29.9])
    claim = {"of": {"p": 0.2}, "below": {"p": 0}, "factor": 100, "unit": "%"}
    assert judged(claim | {"smallest_effect": 0.001}, replicas).verdict == "undecided"  # 0.133 ± 0.143
    judgement = judged(claim | {"smallest_effect": 0.5}, replicas)
    assert judgement.verdict == "not reproduced"
    assert judgement.why.endswith("does not lie below 0 % by 50 % or more")


def test_the_p_value_of_a_direction_is_that_of_its_interval():
    cdf = 0.5 + 1.5 / 2 / math.sqrt(2 + 1.5**2)  # of two degrees of freedom at t = 1.5
    bound = 2 + 1.5 / math.sqrt(3)
    assert judged({"below": bound}, rows(p0=[1.0, 2.0, 3.0])).p_value == pytest.approx(2 * (1 - cdf))
    both = judged({"below": bound, "above": -50}, rows(p0=[1.0, 2.0, 3.0]))  # the larger of the two
    assert both.p_value == pytest.approx(2 * (1 - cdf))
    assert math.isnan(judged({"paper": 2}, rows(p0=[1.0, 2.0, 3.0])).p_value)
    assert math.isnan(judged({"below": 5, "every": True}, rows(p0=[1.0, 2.0, 3.0])).p_value)


def test_one_claim_is_primary_and_the_others_are_secondary():
    claims = [{"id": name, "metric": "x", "below": 5} for name in ("C1", "C2")]
    replicas, checks = rows(p0=[1.0, 2.0, 3.0]), [CHECK]
    assert [one.role for one in judge(claims, replicas=replicas, checks=checks)] == ["", "", ""]
    judgements = judge(claims, replicas=replicas, checks=checks, primary="C2")
    assert [one.role for one in judgements] == ["secondary", "primary", "secondary"]
    assert [one.role for one in judge(claims, replicas=replicas, checks=checks, primary="T1")][-1] == "primary"


def test_the_papers_number_decides_where_there_is_a_theory_too():
    both = {"paper": 1.0, "predicted": 5.0}
    assert judged(both, rows(p0=[1.0] * 3)).verdict == "reproduced"
    assert judged(both, rows(p0=[5.0] * 3)).verdict == "not reproduced"
    assert judged(both, rows(p0=[1.0])).theory == 5.0


def share_reproduced(*, truth, spread, n, tolerance, draws=600):
    """Judge draws of n normal values about a truth in the unit of the paper's number."""
    values = np.random.default_rng(0).normal(truth, spread * truth, size=(n, draws))
    replicas = pd.DataFrame(values, columns=[f"x{draw}" for draw in range(draws)]).assign(p=0.0, seed=range(n))
    claims = [{"id": "C1", "metric": f"x{draw}", "paper": 1.0, "tolerance": tolerance} for draw in range(draws)]
    verdicts = [judgement.verdict for judgement in judge(claims, replicas=replicas)]
    return verdicts.count("reproduced") / draws


def test_a_truth_of_one_and_a_half_times_the_number_is_seldom_reproduced_by_three_uneven_seeds():
    assert share_reproduced(truth=1.5, spread=0.3, n=3, tolerance=0.15) <= 0.05


def test_the_truth_is_mostly_reproduced_by_twenty_seeds():
    assert share_reproduced(truth=1.0, spread=0.1, n=20, tolerance=0.25) >= 0.95


@pytest.mark.parametrize(
    ("values", "claim", "verdict"),
    [
        ([1.0, 2.0, 3.0], {"below": 2 + 1.01 * HALF}, "reproduced"),
        ([1.0, 2.0, 3.0], {"below": 2 + 0.99 * HALF}, "undecided"),  # the mean lies there, the interval does not
        ([1.0, 2.0, 3.0], {"below": 2 - 0.99 * HALF}, "undecided"),
        ([1.0, 2.0, 3.0], {"below": 2 - 1.01 * HALF}, "not reproduced"),  # the interval lies on the other side
        ([1.0, 2.0, 3.0], {"above": 2 - 1.01 * HALF}, "reproduced"),
        ([1.0, 2.0, 3.0], {"above": 2 - 0.99 * HALF}, "undecided"),
        ([1.0, 2.0, 3.0], {"above": 2 + 1.01 * HALF}, "not reproduced"),
        ([1.0, 2.0, 3.0], {"above": -3, "below": 5}, "reproduced"),
        ([1.0, 2.0, 3.0], {"above": -3, "below": 4}, "undecided"),
        ([1.0, 2.0, 3.0], {"above": 7, "below": 4}, "not reproduced"),
        ([2.0, 2.0, 2.0], {"below": 2}, "not reproduced"),  # on the bound is not below it
        ([2.0, 2.0, 2.0], {"above": 2}, "not reproduced"),
        ([0.9] * 20, {"below": 0.9}, "not reproduced"),  # whose mean in floats is below it
        ([0.1] * 20, {"above": 0.1}, "not reproduced"),
        ([1.0, 1.0], {"below": 1.5}, "direction only"),  # two are too few to reproduce it
        ([1.0, 1.0], {"below": 0.5}, "not reproduced"),
        ([1.0], {"below": 1.5}, "not judged"),
        ([1.0], {"below": 1.0}, "not judged"),
        ([1.0], {"above": 0.5}, "not judged"),
        ([1.0, math.inf], {"above": 0.5}, "not judged"),  # there is no interval
    ],
)
def test_a_direction_is_met_if_the_whole_interval_lies_there(values, claim, verdict):
    assert judged(claim, rows(p0=values)).verdict == verdict


@pytest.mark.parametrize(
    ("values", "claim", "verdict"),
    [
        ([1.0, 2.0, 3.0], {"below": 3.5}, "reproduced"),
        ([1.0, 2.0, 3.0], {"below": 3}, "not reproduced"),
        ([1.0, 2.0, 3.0], {"above": 0.5}, "reproduced"),
        ([1.0, 2.0, 3.0], {"above": 1}, "not reproduced"),
        ([1.0, 2.0], {"above": 0.5}, "direction only"),
        ([1.0], {"above": 0.5}, "not judged"),
    ],
)
def test_every_asks_each_replica_and_not_the_interval(values, claim, verdict):
    assert judged(claim | {"every": True}, rows(p0=values)).verdict == verdict


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ({"paper": 1, "below": 2}, "reproduced"),
        ({"paper": 5, "below": 2}, "direction only"),
        ({"paper": 1, "below": 0.5}, "not reproduced"),
        ({"paper": 5, "below": 0.5}, "not reproduced"),
        ({"paper": 5, "below": 2, "above": 1.5}, "not reproduced"),
        ({"paper": 5}, "not reproduced"),
    ],
)
def test_the_direction_alone_is_its_own_verdict(claim, verdict):
    assert judged(claim, rows(p0=[1.0] * 3)).verdict == verdict


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ({"paper": 2, "below": 5}, "direction only"),  # the number is undecided
        ({"paper": 9, "below": 5}, "direction only"),
        ({"paper": 2, "margin": 1.1 * HALF, "below": 4}, "undecided"),  # the direction is
        ({"paper": 9, "below": 4}, "not reproduced"),
        ({"paper": 2, "below": -1}, "not reproduced"),
    ],
)
def test_a_direction_that_is_missed_refutes_and_one_that_is_undecided_does_not(claim, verdict):
    assert judged(claim, rows(p0=[1.0, 2.0, 3.0])).verdict == verdict


def test_a_direction_against_other_replicas_is_judged_seed_by_seed():
    replicas = rows(p0=[10.0, 20.0, 30.0], p2=[9.0, 18.9, 29.2])  # differences -1, -1.1, -0.8; the intervals overlap
    claim = {"of": {"p": 0.2}, "below": {"p": 0}}
    assert judged(claim, replicas).verdict == "reproduced"
    assert judged({"of": {"p": 0.2}, "above": {"p": 0}}, replicas).verdict == "not reproduced"
    moved = rows(p0=[20.0, 30.0, 10.0], p2=[9.0, 18.9, 29.2])  # the same values at other seeds
    assert judged(claim, moved).verdict == "undecided"


def test_a_direction_is_judged_by_the_pairs_that_it_has():
    replicas = rows(p0=[10.0, 20.0], p2=[9.0, 18.9, 29.2])
    judgement = judged({"of": {"p": 0.2}, "below": {"p": 0}, "paper": 19, "margin": 40}, replicas)
    assert (judgement.n, judgement.verdict) == (3, "direction only")
    assert "2 of 3 seeds have a partner, and the difference to p = 0, at the end, is -1.05: " in judgement.why
    assert judgement.why.endswith("two seeds")


def test_a_similarity_says_how_many_pairs_it_has():
    replicas = rows(p0=[10.0, 20.0, 30.0], p2=[9.0, 18.9, 29.2, 5.0])
    judgement = judged({"of": {"p": 0.2}, "similar_to": {"p": 0}, "margin": 2}, replicas)
    assert (judgement.n, judgement.verdict) == (4, "reproduced")
    assert judgement.why.startswith("3 of 4 seeds have a partner, and the difference to p = 0, at the end is -0.9667: ")


def test_every_asks_each_pair():
    replicas = rows(p0=[10.0, 20.0, 30.0], p2=[9.0, 19.0, 10.0])  # differences -1, -1, -20: a wide interval
    assert judged({"of": {"p": 0.2}, "below": {"p": 0}}, replicas).verdict == "undecided"
    assert judged({"of": {"p": 0.2}, "below": {"p": 0}, "every": True}, replicas).verdict == "reproduced"


def test_minus_is_the_difference_of_each_pair():
    replicas = rows(p0=[10.0, 20.0, 30.0, 40.0], p2=[12.0, 21.0, 33.0])
    judgement = judged({"of": {"p": 0.2}, "minus": {"p": 0}, "paper": 2}, replicas)
    assert (judgement.mean, judgement.n) == (2, 3)
    assert (judgement.low, judgement.high) == pytest.approx((2 - HALF, 2 + HALF))


CURVES = pd.DataFrame(
    {
        "step": [0, 10, 20] * 4,
        "epoch": [0, 1, 2] * 4,
        "arm": ["a"] * 6 + ["b"] * 6,
        "p": 1.0,
        "seed": ([0] * 3 + [1] * 3) * 2,
        "x": [8.0, 6.0, 4.0, 4.0, 3.0, 1.0, 8.0, 1.0, 2.0, 4.0, 2.0, 0.5],
    }
)
ENDS = CURVES.groupby(["arm", "seed"]).tail(1).drop(columns=["step", "epoch"])


def test_over_is_the_ratio_of_each_pair():
    judgement = judged({"of": {"arm": "a"}, "over": {"at": "start"}, "below": 1}, ENDS, CURVES)
    assert (judgement.mean, judgement.n) == ((4 / 8 + 1 / 4) / 2, 2)


def test_a_ratio_to_what_is_always_below_0_is_judged():
    replicas = rows(p0=[-1.0, -2.0, -4.0], p2=[-0.5, -1.0, -2.0])
    assert judged({"of": {"p": 0.2}, "over": {"p": 0}, "below": 0.6}, replicas).verdict == "reproduced"


def test_another_metric_of_the_same_replica_makes_a_pair():
    replicas = pd.DataFrame(rows(p0=[4.0, 9.0], p2=[1.0, 1.0])).assign(y=[2.0, 3.0, 1.0, 1.0])
    judgement = judged({"of": {"p": 0}, "over": {"metric": "y"}, "above": {"metric": "y", "p": 0.2}}, replicas)
    assert (judgement.mean, judgement.n) == (2.5, 2)
    assert judgement.why.startswith("the difference to y, p = 0.2, at the end, is 1.5: ")


def test_a_direction_against_other_replicas_compares_the_same_ratio():
    claim = {"of": {"arm": "a"}, "over": {"at": "start"}, "every": True}
    above = judged(claim | {"above": {"arm": "b"}}, ENDS, CURVES)  # 1/2, 1/4 against 1/4, 1/8
    below = judged(claim | {"below": {"arm": "b"}}, ENDS, CURVES)
    assert (above.verdict, below.verdict) == ("direction only", "not reproduced")


@pytest.mark.parametrize(
    ("at", "mean"),
    [("end", 2.5), ("start", 6), ("lowest", 2.5), ("highest", 6), (1, 4.5), ("rise", -1.5)],  # by -2 and -1 at least
)
def test_the_moment_decides_which_measurement_counts(at, mean):
    assert judged({"of": {"arm": "a", "at": at}, "paper": 1}, ENDS, CURVES).mean == mean


def test_a_curve_that_falls_to_its_end_may_rise_on_the_way():
    assert judged({"of": {"arm": "b", "at": "rise"}, "below": 0, "every": True}, ENDS, CURVES).mean == (1 - 1.5) / 2
    falls = judged({"of": {"arm": "a", "at": "rise"}, "below": 0, "every": True}, ENDS, CURVES)
    rises = judged({"of": {"arm": "b", "at": "rise"}, "below": 0, "every": True}, ENDS, CURVES)  # from 1 to 2, seed 0
    assert (falls.verdict, rises.verdict) == ("direction only", "not reproduced")
    once = CURVES[CURVES["step"] == 0]  # one measurement has no change
    assert judged({"of": {"arm": "a", "at": "rise"}, "below": 0}, ENDS, once).verdict == "not applicable"


def test_two_moments_of_the_same_curve_are_compared():
    claim = {"of": {"arm": "b"}, "above": {"at": "lowest"}, "every": True}
    assert judged(claim, ENDS, CURVES).verdict == "not reproduced"  # seed 1 ends at its lowest


@pytest.mark.parametrize(
    "claim", [{"below": 9}, {"paper": 1}, {"over": {"at": "start"}, "below": 9}, {"rank_with": "y", "below": 2}]
)
def test_several_networks_of_a_seed_are_not_several_seeds(claim):
    judgement = judged(claim, ENDS, CURVES.assign(y=1.0))  # two arms, two seeds
    why = "a mean must be over seeds alone, got arm = a, b; name one arm"
    assert (judgement.verdict, judgement.why) == ("not applicable", why)


def test_those_that_a_claim_compares_with_are_of_one_cell_too():
    claim = {"of": {"arm": "a"}, "above": {"p": 0.2}}
    several = [{"arm": arm, "p": p, "seed": s, "x": 1.0} for s in range(3) for arm, p in (("a", 0.0), ("a", 0.2))]
    lone = [row | {"arm": "b"} for row in several if not row["p"]]
    assert judged({"of": {"arm": "b"}, "above": {"arm": "a"}}, [*several, *lone]).why.endswith("name one p")
    assert judged(claim, several).why.endswith("got p = 0, 0.2; name one p")


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ({"of": {"p": 0.3}, "paper": 1}, "no replica has p = 0.3; there are 0"),
        ({"metric": "y", "paper": 1}, "no replica has the column y"),
        ({"of": {"at": "start"}, "paper": 1}, "there are no curves"),
        ({"minus": {"p": 0.2}, "paper": 1}, "no replica has p = 0.2; there are 0"),
        ({"below": {"p": 0.2}}, "no replica has p = 0.2; there are 0"),
        ({"predicted": {"_target_": "a.b"}}, "predicted is yet to be computed by a.b"),
        ({"below": {"_target_": "a.b"}}, "below is yet to be computed by a.b"),
        ({"paper": "1"}, "claim 'C1': paper must be a finite number, got '1'"),
    ],
)
def test_a_claim_that_nothing_answers_to_is_not_applicable_and_says_why(claim, why):
    replicas = pd.DataFrame(rows(p0=[1.0, 2.0])).assign(zero=0.0)
    judgement = judged({"says": "It is so.", "place": "figure 1", **claim}, replicas)
    assert (judgement.verdict, judgement.why, judgement.n) == ("not applicable", why, 0)
    assert (judgement.id, judgement.says, judgement.place) == ("C1", "It is so.", "figure 1")
    assert all(map(math.isnan, (judgement.mean, judgement.low, judgement.high)))


def test_what_is_no_claim_at_all_is_a_row_too():
    (judgement,) = judge(["F1"], replicas=[])
    assert (judgement.verdict, judgement.id) == ("not applicable", "")
    assert judgement.why == "a claim must be a mapping with id, metric and more, got 'F1'"


def test_a_claim_that_has_been_read_is_judged_as_well():
    claim = Claim.of({"id": "C1", "metric": "x", "paper": 1.0})
    assert judge([claim], replicas=rows(p0=[1.0] * 3))[0].verdict == "reproduced"


DIVERGED = {"p": 0.2, "seed": 3, "ended_by": "non-finite weights"}


@pytest.mark.parametrize(
    ("replicas", "claim", "why", "numbers"),
    [
        (rows(p2=[0.5, math.nan, math.nan]), {"below": 1}, "1 of 3 replicas have a value (at the end)", (1, 3)),
        (rows(p2=[0.5, 0.6, math.inf]), {"below": 1}, "2 of 3 replicas have a value (at the end)", (2, 3)),
        (rows(p2=[math.nan] * 3), {"paper": 1}, "0 of 3 replicas have a value (at the end)", (0, 3)),
        ([*rows(p2=[0.5] * 3), DIVERGED], {"below": 1}, "1 of 4 diverged", (3, 4)),
        ([*rows(p2=[0.5] * 3), DIVERGED | {"x": 0.5}], {"below": 1}, "1 of 4 diverged", (3, 4)),  # of older versions
        ([*rows(p2=[0.5]), DIVERGED | {"ended_by": "non-finite loss"}], {"below": 1}, "1 of 2 diverged", (1, 2)),
        ([DIVERGED], {"metric": "y", "below": 1}, "1 of 1 diverged", (0, 1)),
        (
            [*rows(p0=[1.0] * 4, p2=[0.5] * 3), DIVERGED],
            {"of": {"p": 0}, "above": {"p": 0.2}},
            "1 of 4 diverged (p = 0.2)",
            (3, 4),
        ),
        (
            rows(p0=[1.0, 0.0, 2.0], p2=[0.5, 0.0, 1.0]),
            {"of": {"p": 0.2}, "over": {"p": 0}, "below": 1},
            "for 2 of 3 replicas x: p = 0.2, at the end; over p = 0, at the end is a finite number",
            (2, 3),
        ),
        (  # -2 and 1/2 are as far from 1, and neither is a size
            rows(p0=[-1.0, 1.0, 1.0], p2=[0.5, 0.5, 2.0]),
            {"of": {"p": 0.2}, "over": {"p": 0}, "below": 3},
            "p = 0, at the end is below 0 for 1 of 3 replicas, and no ratio to it has a mean",
            (0, 3),
        ),
        (rows(p2=[-1e308, -1e308, 1e307]), {"below": 2}, "the values are too large for an interval", (0, 3)),
    ],
)
def test_a_claim_over_replicas_that_lack_a_value_is_not_judged_and_has_no_mean(replicas, claim, why, numbers):
    judgement = judged(claim | {"note": "as before"}, replicas)
    assert (judgement.verdict, judgement.why) == ("not judged", f"{why}; as before")
    assert (judgement.n, judgement.num_replicas) == numbers
    assert all(map(math.isnan, (judgement.mean, judgement.low, judgement.high)))


def test_replicas_that_diverged_do_not_matter_to_a_claim_about_others():
    replicas = [*rows(p0=[0.5] * 3), DIVERGED]
    judgement = judged({"of": {"p": 0}, "below": 1}, replicas)
    assert (judgement.verdict, judgement.n, judgement.num_replicas) == ("reproduced", 3, 3)


def test_a_replica_that_was_not_measured_at_a_moment_is_not_left_out_of_it():
    curves = CURVES[~((CURVES["seed"] == 1) & (CURVES["epoch"] == 2))]  # it stopped after epoch 1
    judgement = judged({"of": {"arm": "a", "at": 2}, "below": 9}, ENDS, curves)
    assert (judgement.verdict, judgement.n, judgement.num_replicas) == ("not judged", 1, 2)
    assert judged({"of": {"arm": "a", "at": 3}, "below": 9}, ENDS, curves).verdict == "not applicable"


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ({"paper": 1, "below": 2}, "number"),
        ({"paper": 1, "predicted": 2}, "number"),
        ({"below": 2}, "direction"),
        ({"similar_to": 1, "margin": 0.1}, "similarity"),
        ({"similar_to": 1, "margin": 0.1, "below": 2}, "similarity"),
        ({"predicted": 2, "below": 3}, "prediction"),
        ({"predicted": 2, "identity": True}, "identity"),
        ({"paper": 2, "below": "two"}, "number"),  # which is no claim
    ],
)
def test_each_claim_is_of_one_kind(claim, kind):
    assert judged(claim, rows(p0=[1.0] * 3)).kind == kind


@pytest.mark.parametrize(("said", "kind"), [({}, "prediction"), ({"identity": True}, "identity")])
def test_a_check_is_a_prediction_unless_it_holds_by_construction(said, kind):
    assert judge([], replicas=[], checks=[CHECK | said])[0].kind == kind


@pytest.mark.parametrize(
    ("values", "claim", "why"),
    [
        ([0.2] * 3, {"paper": 0.21}, "the interval lies within 15 % of the paper's 21 %"),
        (
            [0.1, 0.2, 0.3],
            {"predicted": 0.3},
            "the interval, -4.841 % to 44.84 %, is not within 15 % of the theory's 30 %, nor outside; as before",
        ),
        (
            [0.4] * 3,
            {"paper": 0.5},
            "20 % off the paper's 50 %: the interval, 40 % to 40 %, lies outside of 15 %; as before",
        ),
        ([0.4], {"paper": 0.5}, "20 % off the paper's 50 %; one seed; as before"),
        ([0.4], {"paper": 0, "margin": 0.1}, "40 % off the paper's 0 %; one seed; as before"),
        ([0.4] * 3, {"paper": 0.5, "margin": 0.2}, "the interval lies within 20 % of the paper's 50 %"),
        ([0.4] * 3, {"below": 0.5, "smallest_effect": 0.05}, "the interval lies below 50 % by 5 % or more"),
        (
            [0.1, 0.2, 0.3],
            {"above": 0.1, "smallest_effect": 0.05},
            "the interval, -4.841 % to 44.84 %, holds 15 %; as before",
        ),
        (
            [0.1, 0.2, 0.3],
            {"similar_to": 0.1, "margin": 0.1},
            "the difference to 10 % is 10 %: its 90 % interval, -6.859 % to 26.86 %, is neither within nor outside of "
            "± 10 %; as before",
        ),
        ([0.4], {"below": 0.5}, "it lies below 50 %; one seed; as before"),
        ([0.4], {"above": 0.5}, "it does not lie above 50 %; one seed; as before"),
        ([0.4] * 3, {"below": 0.5, "above": 0.3}, "the interval lies below 50 %; the interval lies above 30 %"),
        ([0.4] * 2, {"below": 0.5}, "the interval lies below 50 %; two seeds; as before"),
        ([0.4] * 3, {"above": 0.5}, "the interval, 40 % to 40 %, does not lie above 50 %; as before"),
        ([0.1, 0.2, 0.3], {"above": 0.1}, "the interval, -4.841 % to 44.84 %, holds 10 %; as before"),
        ([0.4, 0.6, 0.7], {"above": 0.5, "every": True}, "2 of 3 replicas lie above 50 %; as before"),
    ],
)
def test_why_says_what_was_met_and_what_was_not(values, claim, why):
    shown = {"factor": 100, "unit": "%", "note": "as before"}
    assert judged(claim | shown, rows(p0=values)).why == why


def test_shown_numbers_are_in_the_unit_that_is_shown():
    judgement = judged({"paper": 0.21, "factor": 100, "unit": "%"}, rows(p0=[0.25, 0.25]))
    assert judgement.shown == pytest.approx({"paper": 21, "theory": None, "mean": 25, "low": 25, "high": 25})
    assert (judgement.paper, judgement.mean, judgement.unit) == (0.21, 0.25, "%")


CHECK = {
    "id": "T1",
    "says": "The norm shrinks.",
    "place": "theorem 1",
    "measured": 0.5,
    "predicted": 0.51,
    "relation": "<=",
    "holds": True,
    "n": 100,
    "applicable": True,
    "low": 0.4,
    "high": 0.6,
    "note": "",
    "curve": None,
}


@pytest.mark.parametrize(
    ("said", "verdict", "why"),
    [
        ({}, "reproduced", "measured <= predicted holds"),
        ({"holds": False}, "not reproduced", "measured <= predicted does not hold"),
        ({"holds": False, "note": "too few"}, "not reproduced", "measured <= predicted does not hold; too few"),
        (
            {"holds": False, "undecided": True},
            "undecided",
            "measured <= predicted is undecided: the interval is too wide",
        ),
        ({"applicable": False, "note": "it has a skip"}, "not applicable", "it has a skip"),
    ],
)
def test_a_check_becomes_a_judgement(said, verdict, why):
    (judgement,) = judge([], replicas=[], checks=[CHECK | said])
    assert (judgement.verdict, judgement.why) == (verdict, why)
    assert (judgement.id, judgement.says, judgement.place) == ("T1", "The norm shrinks.", "theorem 1")
    assert (judgement.theory, judgement.paper, judgement.n) == (0.51, None, 100)
    assert (judgement.mean, judgement.low, judgement.high) == (0.5, 0.4, 0.6)


def test_a_check_without_an_interval_or_a_prediction_has_none():
    (judgement,) = judge([], replicas=[], checks=[CHECK | {"low": None, "high": None, "predicted": math.nan}])
    assert math.isnan(judgement.low)
    assert math.isnan(judgement.high)
    assert judgement.theory is None


def test_a_foreign_check_is_not_reproduced():
    (judgement,) = judge([], replicas=[], checks=[{"id": "T1"}])
    assert (judgement.verdict, judgement.n) == ("not reproduced", 0)
    assert math.isnan(judgement.mean)


def test_the_rule_explains_every_verdict():
    assert all(verdict.capitalize() in RULE for verdict in VERDICTS)


def courses(*rows):
    """Return the curves of replicas of p = 0.2, one for each seed, with x as given and y falling."""
    return pd.DataFrame(
        [
            {"p": 0.2, "seed": seed, "step": epoch, "epoch": epoch, "x": value, "y": -epoch}
            for seed, values in enumerate(rows)
            for epoch, value in enumerate(values)
        ]
    )


TOGETHER = {"of": {"p": 0.2}, "rank_with": "y", "above": 0.8}


def test_a_claim_on_the_course_of_two_metrics_is_judged_by_their_rank_correlation_in_each_replica():
    replicas = rows(p2=[1, 2, 3])
    judgement = judged(TOGETHER, replicas, courses([4, 3, 2, 1], [9, 5, 2, 1], [3, 2, 1, 0]))
    assert (judgement.mean, judgement.n, judgement.verdict) == (1, 3, "reproduced")
    assert judgement.of == "rank correlation of x with y: p = 0.2, over the whole training"
    against = judged(TOGETHER, replicas, courses([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]))
    assert (against.mean, against.verdict) == (-1, "not reproduced")


def test_where_a_course_is_constant_its_rank_correlation_is_not_judged():
    judgement = judged(TOGETHER, rows(p2=[1, 2, 3]), courses([4, 3, 2], [5, 5, 5], [3, 2, 1]))
    assert judgement.verdict == "not judged"
    assert judgement.why == "2 of 3 replicas have a rank correlation (p = 0.2, over the whole training)"


def test_a_course_that_ends_before_the_moment_of_a_claim_has_no_rank_correlation():
    short = courses([4, 3, 2], [9, 5, 2], [3, 2, 1])
    judgement = judged({**TOGETHER, "of": {"p": 0.2, "at": 300}}, rows(p2=[1, 2, 3]), short)
    assert judgement.verdict == "not judged"
    assert judgement.why.startswith("0 of 3 replicas have a rank correlation")


def test_where_a_replica_diverged_its_rank_correlation_is_not_judged():
    replicas = pd.DataFrame(rows(p2=[1, 2, 3])).assign(ended_by=["budget", "non-finite loss", "budget"])
    judgement = judged(TOGETHER, replicas, courses([4, 3, 2], [9], [3, 2, 1]))
    assert judgement.verdict == "not judged"
    assert judgement.why.startswith("1 of 3 diverged")


def test_a_rank_correlation_of_a_ratio_is_refused():
    judgement = judged({**TOGETHER, "over": {"p": 0}}, rows(p2=[1, 2, 3]))
    assert judgement.verdict == "not applicable"
    assert "over and rank_with exclude each other; keep one" in judgement.why
