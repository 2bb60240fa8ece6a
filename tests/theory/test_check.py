from inspect import signature

from noisereg import theory
from noisereg.theory import (
    verify_dead_output,
    verify_half_active,
    verify_hypercube_net,
    verify_one_step,
    verify_perceptron,
    verify_polynomial,
    verify_threshold,
)

HOLD_BY_CONSTRUCTION = {
    "D13-degree",
    "D13-rules",
    "F1g",
    "S1",
    "S2",
    "S9",
    "T1-above",
    "T1-below",
    "T1-euler",
    "T1a",
    "T1b-hidden",
    "T1b-output",
    "T3-sets",
    "X8-half",
    "X8-pairs",
}


def test_checks_that_hold_by_construction_are_marked_and_no_others():
    checks = [
        *verify_dead_output(ks=(20,), d=5),
        *verify_half_active(d=5, hidden=8, steps=50, samples=100),
        *verify_hypercube_net(samples=1000),
        *verify_one_step(seeds=3),
        *verify_perceptron(seeds=2, n=20, d=5),
        *verify_polynomial(replicas=20),
        *verify_threshold(seeds=1, samples=2, depths=[2]),
    ]
    assert {check.id for check in checks if check.identity} == HOLD_BY_CONSTRUCTION
    assert len(checks) > len(HOLD_BY_CONSTRUCTION) + 8
    assert all(check.as_row()["identity"] == check.identity for check in checks)


def test_every_verifier_takes_the_seed_of_a_run():
    verifiers = [getattr(theory, name) for name in theory.__all__ if name.startswith("verify_")]
    assert len(verifiers) > 10
    assert [verify.__name__ for verify in verifiers if "seed" not in signature(verify).parameters] == []
