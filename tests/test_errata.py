"""A check of each correction of docs/errata.md that a few lines of arithmetic can show."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from noisereg.config.composing import conf_dir
from noisereg.losses import Hinge, Logistic
from noisereg.models import MLP, TwoLayer
from noisereg.theory import (
    hinge_rest,
    neuron_bound,
    neuron_drift,
    neuron_equilibrium,
    silent_share,
    verify_one_step,
)
from noisereg.theory.gradient_flow import integrate
from noisereg.theory.standard_basis import visit_basis


def rest_of_a_neuron(*, beta, d=30, lr=1 / 900, replicas=50, start=0.45, steps=3000):
    """Train neurons with the hinge loss on pure noise; return the mean norm of the second half."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(replicas, d))
    weights *= start / np.linalg.norm(weights, axis=1, keepdims=True)
    norms = []
    for step in range(steps):
        x, y = generator.normal(size=(replicas, d)), generator.choice([-1.0, 1.0], size=replicas)
        active = y * (weights * x).sum(axis=1) <= beta
        weights += (lr * y * active)[:, None] * x
        if step >= steps // 2:
            norms.append(np.linalg.norm(weights, axis=1).mean())
    return np.mean(norms)


def test_theorem_2a_is_for_beta_0_alone():
    dh, with_margin, without = 30 / 900, rest_of_a_neuron(beta=1.0), rest_of_a_neuron(beta=0.0)
    assert with_margin == pytest.approx(0.455, rel=0.05)
    assert with_margin == pytest.approx(hinge_rest(30, 1 / 900, beta=1.0), rel=0.05)
    assert without == pytest.approx(neuron_equilibrium(30, 1 / 900, loss=Hinge()), rel=0.05)
    assert without < dh and with_margin > 13 * dh


def test_the_radius_of_theorem_2b_holds_the_initial_weights():
    norms = np.linalg.norm(np.random.default_rng(0).uniform(-math.sqrt(3), math.sqrt(3), size=(1000, 30)), axis=1)
    bound = neuron_bound(30, 1 / 900, norm=5.5, loss=Logistic())
    assert bound.radius == pytest.approx(400)  # 100 d sqrt(h) / m = 100 30 (1 / 30) 4
    assert norms.max() < 8


@pytest.mark.parametrize(("kink", "outputs"), [("left", {0.0}), ("right", {0.0, 2.0, -2.0})])
def test_with_the_left_slope_an_output_of_zero_stays(kink, outputs):
    model = TwoLayer((1,), 1, hidden=8, bias="none", output_signs=True, trained="hidden").double()  # 2 k = 8
    nn.init.ones_(model.hidden.weight)
    optimizer, x, found = torch.optim.SGD([model.hidden.weight], lr=0.25), torch.ones(1, 1).double(), set()
    for step in range(20):
        optimizer.zero_grad()
        Hinge(kink=kink)(model(x), torch.tensor([step // 3 % 2])).backward()
        optimizer.step()
        found.add(model(x).item())
    assert found <= outputs and (kink == "left" or len(found) > 1)  # 2 k h = 2


@pytest.mark.parametrize("lr", [1.0, 1.5, 3.0])
def test_after_a_mistake_the_other_side_lies_between_h_and_h_plus_1(lr):
    weights = torch.rand(1, 200, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    weights[0, :100] = weights[0, :100].abs()  # so that N > 0
    live = weights[0, 100:] > 0
    visit_basis(weights, torch.tensor([False]), lr=lr)
    after = weights[0, 100:][live]
    assert (weights[0, :100] <= 0).all()
    assert lr <= after.min() < lr + 0.1 and lr + 0.9 < after.max() <= lr + 1
    assert bool(((after >= 1) & (after <= 2)).all()) is (lr == 1)  # which the proof has for all h


def test_a_step_on_an_input_with_a_one_pushes_by_d_plus_1():
    """E||W'||^2 - ||W||^2 = 2 h r + h^2 E[|x~|^2 / 2] for the hinge loss, where half of the samples are mistakes."""
    d, lr, mu, s = 2, 0.1, 0.6, 0.8
    x = np.random.default_rng(0).normal(size=(200_000, d))
    sign = np.random.default_rng(1).choice([-1.0, 1.0], size=len(x))
    inputs, weights = np.c_[x, np.ones(len(x))], np.array([s, 0.0, mu])
    wrong = sign * (inputs @ weights) < 0
    after = weights + lr * (sign * wrong)[:, None] * inputs
    push = ((after**2).sum(axis=1) - 1 - 2 * lr * neuron_drift(mu, s)) / lr**2
    error = push.std() / math.sqrt(len(x))
    assert abs(push.mean() - (d + 1) / 2) < 5 * error
    assert abs(push.mean() - d / 2) > 10 * error  # what the paper has


def test_equation_2_takes_a_unit_more_to_express_equation_1():
    first = TwoLayer((3,), 1, hidden=4, bias="same", seed=0).double()
    second = MLP((3,), 1, hidden=5, bias="none", append_one=True).double()
    with torch.no_grad():  # the fifth unit is 1 for every input, and carries the output's bias
        second.linear1.weight[:4] = torch.cat([first.hidden.weight, first.hidden.bias[:, None]], dim=1)
        second.linear1.weight[4] = torch.tensor([0.0, 0.0, 0.0, 1.0])
        second.output.weight[:] = torch.cat([first.output.weight, first.output.bias[None]], dim=1)
    x = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(first(x), second(x))
    # ReLU(x) + 1 is positive everywhere and no constant; v ReLU(w x + b) is 0 on a half line, or constant if w is 0


def test_the_identities_of_appendix_b_ask_for_a_slope_of_one():
    assert all(check.holds for check in verify_one_step(seeds=3, loss=Hinge()))
    neuron, output = verify_one_step(seeds=3, loss=Logistic())[:2]
    assert not neuron.holds and not output.holds


def test_m_is_the_whole_jump_of_the_hinge_loss_and_not_less():
    dh = 30 / 900
    plus = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    right, left = (
        -float(Hinge().slope(torch.tensor([[margin]], dtype=torch.float64), plus)) for margin in (-dh, dh)
    )  # L'(dh) and L'(-dh), as L is a function of -y N
    assert right - left == 1.0  # m of part (a): appendix D says m < m_2 - m_1


def test_with_beta_1_the_norm_of_a_right_sample_grows_in_gradient_flow():
    net = nn.Sequential(nn.Linear(1, 1, bias=False)).double()
    nn.init.constant_(net[0].weight, 0.5)
    x, target = torch.ones(1, 1).double(), torch.tensor([[0.0, 1.0]]).double()
    flow = integrate(net, x, target, loss=Hinge(beta=1.0), duration=0.25, steps=10)
    assert float(flow.squares[0, 0]) == pytest.approx(0.25)
    assert float(flow.squares[-1, 0]) == pytest.approx(0.75**2)  # N = 0.5 + t


def test_hoeffding_is_for_as_many_terms_as_are_summed():
    n, k, eps = 100, 400, 0.1  # with k terms of mean 1/2 the sum is far from n / 2 always
    sums = np.random.default_rng(0).integers(0, 2, size=(2000, k))
    bound = 2 * math.exp(-2 * n * eps**2)
    assert (abs(sums[:, :n].sum(axis=1) - n / 2) > n * eps).mean() < bound < 0.28
    assert (abs(sums.sum(axis=1) - n / 2) > n * eps).mean() == 1


def test_the_share_of_silent_neurons_is_a_formula_for_large_k():
    def simulated(k, lr, columns=4000):
        weights = np.random.default_rng(0).uniform(-1, 1, size=(columns, 2 * k))
        signs = np.repeat([1.0, -1.0], k)
        for _ in range(math.ceil(5 * math.sqrt(5 * k / 24) / (k * lr)) + 6):
            active = weights > 0
            output = np.where(active, weights, 0) @ signs
            weights -= lr * np.sign(np.where(output == 0, 1, output))[:, None] * signs * active
        return (weights <= 0).mean()

    assert simulated(60, 0.95) - silent_share(60, 0.95) > 0.004  # 0.981 and 0.975
    assert abs(simulated(400, 0.95, columns=1000) - silent_share(400, 0.95)) < 0.003


def corrections():
    """Return the lines of the table of corrections."""
    text = (Path(__file__).parent.parent / "docs" / "errata.md").read_text(encoding="utf-8")
    table = text.split("## Corrections")[1].split("## ")[0]
    return [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in table.splitlines() if line.startswith("| ")][1:]


def test_each_correction_has_a_check_that_exists():
    results = (Path(__file__).parent.parent / "docs" / "results.md").read_text(encoding="utf-8")
    for line in corrections():
        assert len(line) == 4, line
        check = line[3]
        tests = re.findall(r"`tests/test_errata.py::(\w+)`", check)
        experiments = re.findall(r"`experiment=(\w+)`: ([^;]+)", check)
        assert tests or experiments or check == "the texts themselves", line
        assert all(name in globals() for name in tests), check
        for name, rows in experiments:
            assert (conf_dir() / "experiment" / f"{name}.yaml").exists(), name
            for row in re.split(", | to ", rows):
                assert f"| **{row}**" in results, (name, row)
