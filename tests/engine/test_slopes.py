import pytest
import torch
from engine.plain import LOSSES, name

from noisereg.engine.slopes import compiled_slope
from noisereg.losses import Hinge, Logistic, Loss

KINKED = [Hinge(0.0, kink="left"), Hinge(1.0, kink="left")]


class OtherLogistic(Logistic):
    """It may differ from its parent in anything."""


class Constant(Loss):
    """A loss of a user's own."""

    def per_class(self, logits):
        return logits * 0


def by_autograd(loss, logits, target):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss.per_sample(leaf, target).sum(), leaf)[0]


def by_compiled(loss, logits, target):
    """Call the slope row by row, with the probability of +1 for each output."""
    slopes, plus = logits.numpy().copy(), (target[:, 1:] if logits.shape[1] == 1 else target).numpy()
    for row, wanted in zip(slopes, plus, strict=True):
        compiled_slope(loss)(row, wanted)
    return torch.from_numpy(slopes)


def cases(outputs):
    """Logits that are small, great, and at the kinks; targets that are labels and distributions."""
    generator = torch.Generator().manual_seed(0)
    num_classes = max(outputs, 2)
    few = torch.tensor([0.0, 1.0, -1.0, 30.0, -30.0], dtype=torch.float64)
    at_kinks = few[torch.randint(5, (100, outputs), generator=generator)]
    logits = torch.cat([3 * torch.randn(100, outputs, generator=generator, dtype=torch.float64), at_kinks])
    hard = torch.eye(num_classes, dtype=torch.float64)[torch.randint(num_classes, (200,), generator=generator)]
    soft = torch.rand(200, num_classes, generator=generator, dtype=torch.float64).softmax(dim=1)
    return torch.cat([logits, logits]), torch.cat([hard, soft])


@pytest.mark.parametrize("outputs", [1, 2, 10])
@pytest.mark.parametrize("loss", [*LOSSES, *KINKED], ids=name)
def test_the_compiled_slope_is_that_of_autograd(loss, outputs):
    logits, target = cases(outputs)
    expected = by_autograd(loss, logits, target)
    torch.testing.assert_close(by_compiled(loss, logits, target), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("loss", [*LOSSES, *KINKED], ids=name)
def test_far_outputs_have_finite_slopes(loss, outputs):
    logits = torch.tensor([[800.0], [-800.0]], dtype=torch.float64).expand(2, outputs) * torch.ones(outputs)
    logits = torch.cat([logits, logits.cumsum(dim=1)])
    target = torch.tensor([[0.0, 1.0], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    slopes = by_compiled(loss, logits, target)
    torch.testing.assert_close(slopes, by_autograd(loss, logits, target), rtol=1e-12, atol=1e-13)
    assert slopes.isfinite().all()


@pytest.mark.parametrize(("kink", "expected"), [("right", [1.0, -1.0]), ("left", [0.0, 0.0])])
def test_an_output_at_the_kink_takes_the_derivative_that_was_asked_for(kink, expected):
    # By hand: phi(beta + N) for the label -1 at N = -beta, phi(beta - N) for +1 at N = +beta; phi' is 1 or 0 there.
    logits = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    target = torch.eye(2, dtype=torch.float64)
    assert by_compiled(Hinge(1.0, kink=kink), logits, target).flatten().tolist() == expected


@pytest.mark.parametrize("loss", [Logistic(), Hinge(1.0), Hinge(1.0, kink="left")], ids=name)
def test_an_infinite_output_is_not_hidden(loss):
    logits = torch.tensor([[torch.nan, 0.0]], dtype=torch.float64)
    assert by_compiled(loss, logits, torch.eye(2, dtype=torch.float64)[:1])[0, 0].isnan()


@pytest.mark.parametrize("loss", [OtherLogistic(), Constant()], ids=name)
def test_a_loss_that_may_differ_is_not_known(loss):
    assert compiled_slope(loss) is None


def test_settings_of_one_loss_have_slopes_of_their_own():
    assert compiled_slope(Hinge(0.0)) is compiled_slope(Hinge(0.0))
    assert len({compiled_slope(Hinge(beta, kink)) for beta in (0.0, 1.0) for kink in ("left", "right")}) == 4
