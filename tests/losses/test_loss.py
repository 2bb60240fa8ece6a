"""One battery for every loss: the expected target is the exact expectation of the sampled one (D10)."""

from functools import partial

import pytest
import torch

from noisereg.losses import CrossEntropy, GeneralizedCrossEntropy, Hinge, Logistic, Loss, SquaredError, Surrogate
from noisereg.noise import Corruption, Flip, NoNoise, Resample, Transition

LOSSES = [Logistic(), Hinge(0.0), Hinge(1.0), CrossEntropy(), SquaredError(), GeneralizedCrossEntropy(0.7)]
FUNNEL = [[0.5, 0.5, 0.0], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]


def _name(thing: object) -> str:
    return type(thing).__name__


def _logits(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def _rules(num_classes: int, *, expected: bool) -> list:
    rules = [NoNoise(expected=expected), Resample(p=0.3, expected=expected), Flip(p=0.3, expected=expected)]
    rules.append(Transition(p=0.3, moves={1: 0}, expected=expected))
    return rules + ([Transition(p=0.6, matrix=FUNNEL, expected=expected)] if num_classes == 3 else [])


def _gradient(loss: Loss, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss.per_sample(logits, target).sum(), logits)[0]


@pytest.mark.parametrize("loss", LOSSES, ids=_name)
@pytest.mark.parametrize(("num_classes", "outputs"), [(2, 1), (2, 2), (3, 3)])
def test_expected_gradient_is_the_enumeration_of_the_sampled_one(loss, num_classes, outputs):
    logits = _logits(6, outputs)
    labels = torch.arange(6) % num_classes
    for rule in _rules(num_classes, expected=True):
        target = Corruption(rule, num_classes=num_classes, seed=0)(labels, draw=0, index=torch.arange(6))
        law = rule.transition(num_classes)
        enumerated = sum(
            law[labels, c].unsqueeze(1) * _gradient(loss, logits, torch.full_like(labels, c))
            for c in range(num_classes)
        )
        torch.testing.assert_close(_gradient(loss, logits, target), enumerated, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=_name)
@pytest.mark.parametrize("outputs", [1, 2, 10])
def test_a_label_and_its_one_hot_distribution_have_the_same_loss(loss, outputs):
    logits = _logits(8, outputs)
    num_classes = max(outputs, 2)
    labels = torch.arange(8) % num_classes
    one_hot = torch.nn.functional.one_hot(labels, num_classes)
    torch.testing.assert_close(loss.per_sample(logits, labels), loss.per_sample(logits, one_hot), rtol=0, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES, ids=_name)
@pytest.mark.parametrize("outputs", [1, 2, 10])
def test_gradients_agree_with_finite_differences(loss, outputs):
    labels = torch.arange(4) % max(outputs, 2)
    assert torch.autograd.gradcheck(lambda logits: loss(logits, labels), _logits(4, outputs))


@pytest.mark.parametrize("loss", LOSSES, ids=_name)
def test_the_batch_loss_is_the_mean_of_the_samples(loss):
    logits = _logits(7, 3).detach()
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    torch.testing.assert_close(loss(logits, labels), loss.per_sample(logits, labels).sum() / 7)


@pytest.mark.parametrize("loss", LOSSES, ids=_name)
def test_a_far_wrong_output_keeps_loss_and_gradient_finite(loss):
    logits = torch.tensor([[80.0], [-80.0]], requires_grad=True)
    value = loss(logits, torch.tensor([0, 1]))
    assert torch.isfinite(value)
    assert torch.isfinite(torch.autograd.grad(value, logits)[0]).all()


class Halfway(Loss):
    """A loss of a user's own, with no formula for its slope."""

    def per_class(self, logits: torch.Tensor) -> torch.Tensor:
        both = torch.cat([-logits, logits], dim=1) if logits.shape[1] == 1 else logits
        return (both - 0.5).square()


def _settings(loss: Loss) -> str:
    return "".join([_name(loss), *map(str, vars(loss).values())])


@pytest.mark.parametrize("outputs", [1, 2, 10])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("loss", [*LOSSES, Hinge(0.0, "left"), Hinge(1.0, "left"), Halfway()], ids=_settings)
def test_the_slope_is_the_gradient_also_at_kinks(loss, outputs, soft):
    num_classes = max(outputs, 2)
    at_kinks = torch.tensor([0.0, 1.0, -1.0, 1.0, 0.0, -1.0, 50.0], dtype=torch.float64)[:, None].repeat(1, outputs)
    logits = torch.cat([_logits(30, outputs).detach(), at_kinks]).requires_grad_()
    target = torch.eye(num_classes, dtype=torch.float64)[torch.arange(37) % num_classes]
    if soft:
        target = 0.7 * target + 0.3 * target.roll(1, dims=0)
    slope = loss.slope(logits.detach(), target)
    torch.testing.assert_close(slope, _gradient(loss, logits, target), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize(("kink", "slopes"), [("right", [1.0, -1.0]), ("left", [0.0, 0.0])])
def test_the_slope_of_the_hinge_at_its_kink_is_the_one_that_was_asked_for(beta, kink, slopes):
    # phi(beta + N) for the label -1 has its kink at N = -beta, phi(beta - N) for +1 at N = +beta; phi' is 1 or 0 there.
    logits = torch.tensor([[-beta], [beta]])
    assert Hinge(beta, kink).slope(logits, torch.eye(2)).flatten().tolist() == slopes


@pytest.mark.parametrize("loss", [*LOSSES, Halfway()], ids=_settings)
def test_the_slope_is_found_where_no_gradients_are_kept(loss):
    logits, target = _logits(4, 3).detach(), torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0]]
    before = logits.clone()
    with torch.no_grad():
        slope = loss.slope(logits, target)
    assert torch.equal(slope, loss.slope(logits, target))
    assert not slope.requires_grad
    assert torch.equal(logits, before)


@pytest.mark.parametrize("loss", [CrossEntropy(), Hinge(beta=1.0)])
def test_the_mean_over_tokens_leaves_out_what_has_no_label(loss):
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, -100, 3], [-100, -100, 0]])
    rows, known = logits[labels >= 0], labels[labels >= 0]
    alone = torch.stack([loss.per_sample(row[None], label[None])[0] for row, label in zip(rows, known, strict=True)])
    torch.testing.assert_close(loss(logits, labels), alone.mean())
    laws = torch.nn.functional.one_hot(labels.clamp(min=0), 4) * (labels >= 0)[..., None].float()
    torch.testing.assert_close(loss(logits, laws), alone.mean())
    kept = labels.clamp(min=0)
    assert loss.per_sample(logits, kept).shape == (2, 3)
    torch.testing.assert_close(loss.per_sample(logits, kept)[labels >= 0], alone)
    if isinstance(loss, CrossEntropy):
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        torch.testing.assert_close(loss(logits, labels), expected)


@pytest.mark.parametrize("loss", LOSSES, ids=_name)
@pytest.mark.parametrize(("outputs", "shape"), [(1, (4, 1)), (3, (4, 1)), (3, (3,)), (3, (5,)), (3, (4, 2)), (1, (1,))])
def test_targets_that_do_not_fit_the_outputs_are_refused(loss, outputs, shape):
    with pytest.raises(
        ValueError, match=rf"target must be labels \(4,\) or distributions \(4, {max(2, outputs)}\), got"
    ):
        loss.per_sample(torch.zeros(4, outputs), torch.zeros(shape, dtype=torch.int64))


class Steeper(Logistic):
    def phi(self, xi):
        return 3 * super().phi(xi)


class Twice(CrossEntropy):
    def per_class(self, logits):
        return 2 * super().per_class(logits)


class Weighted(Steeper):
    def per_sample(self, logits, target):
        return 5 * super().per_sample(logits, target)


class Named(Hinge):
    """Computes what its parent does, and has methods and arguments that have no part in that."""

    def __init__(self, beta, colour="red"):
        super().__init__(beta)
        self.colour = colour

    def describe(self):
        return f"a {self.colour} hinge"


class Doubled:
    """A part for a loss, that doubles it."""

    def per_class(self, logits):
        return 2 * super().per_class(logits)


class FromPart(Doubled, Logistic):
    pass


class DoubledSurrogate(Surrogate):
    def per_class(self, logits):
        return 2 * super().per_class(logits)

    def per_sample(self, logits, target):
        return Loss.per_sample(self, logits, target)


class FromBelow(Hinge, DoubledSurrogate):
    pass


class OfNoFunction(Logistic):
    phi = staticmethod(partial(torch.mul, 4))


def test_the_slope_is_that_of_a_phi_that_is_no_function_of_python():
    logits = torch.tensor([[0.5], [-1.0]], dtype=torch.float64)
    slope = OfNoFunction().slope(logits, torch.eye(2, dtype=torch.float64))
    assert slope.tolist() == [[4.0], [-4.0]]  # of 4 N for a label of -1, and of -4 N for one of +1


@pytest.mark.parametrize(
    ("loss", "parent", "factor"),
    [
        (Steeper(), Logistic(), 3),
        (Twice(), CrossEntropy(), 2),
        (Weighted(), Logistic(), 15),
        (Named(1.0), Hinge(1.0), 1),
        (FromPart(), Logistic(), 2),
        (FromBelow(1.0), Hinge(1.0), 2),
    ],
    ids=_name,
)
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_slope_of_a_derived_loss_is_its_own(loss, parent, factor, outputs):
    logits, target = _logits(4, outputs).detach(), torch.eye(max(outputs, 2), dtype=torch.float64)[[0, 1, 1, 0]]
    torch.testing.assert_close(loss.slope(logits, target), factor * parent.slope(logits, target), rtol=1e-12, atol=0)
    assert (type(loss).slope is type(parent).slope) == (factor == 1)
