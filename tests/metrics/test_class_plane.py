import math

import numpy as np
import pytest
import torch

from noisereg.metrics import class_plane, project_features, tightness


@pytest.fixture
def templates():
    return torch.randn(3, 7, generator=torch.Generator().manual_seed(0))


def _points(templates, features):
    origin, basis = class_plane(templates)
    return project_features(features, origin=origin, basis=basis)


def test_axes_are_orthonormal_and_the_plane_holds_the_templates(templates):
    origin, basis = class_plane(templates)
    torch.testing.assert_close(basis @ basis.T, torch.eye(2).double())
    points = project_features(templates, origin=origin, basis=basis)
    torch.testing.assert_close(origin + points @ basis, templates.double())


def test_templates_keep_their_distances_and_the_first_axis_joins_the_first_two(templates):
    points = _points(templates, templates)
    torch.testing.assert_close(torch.pdist(points), torch.pdist(templates.double()))
    assert points[0, 1].item() == pytest.approx(points[1, 1].item())
    assert points[0, 0] < points[1, 0] and points[2, 1] > points[0, 1]


def test_a_point_is_the_nearest_one_of_the_plane(templates):
    features = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    origin, basis = class_plane(templates)
    spanned = (templates[1:].double() - templates[0]).T.numpy()
    away = (features - origin).numpy()
    nearest = spanned @ np.linalg.lstsq(spanned, away.T, rcond=None)[0]
    np.testing.assert_allclose((_points(templates, features) @ basis).numpy(), nearest.T, atol=1e-12)


def test_points_move_with_the_templates(templates):
    features = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    turn = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(2))).Q
    moved = _points(templates @ turn + 3, features @ turn + 3)
    torch.testing.assert_close(moved, _points(templates, features), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "corners",
    [
        [[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]],
        [[1.0, 2.0], [1.0, 2.0], [0.0, 5.0]],
        [[1.0, 2.0], [0.0, 5.0], [0.0, 5.0]],
        [[0.0], [1.0], [3.0]],
        [[2.0, 2.0], [2.0, 2.0], [2.0, 2.0]],
    ],
)
def test_templates_on_a_line_are_refused(corners):
    with pytest.raises(ValueError, match=r"templates must not lie on a line, got a triangle of length .* take other"):
        class_plane(torch.tensor(corners))


def test_a_thin_triangle_has_a_plane():
    origin, basis = class_plane(1e-3 * torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.5, 1e-4, 1.0]]))
    torch.testing.assert_close(basis, torch.eye(3)[:2].double())
    torch.testing.assert_close(origin, 1e-3 * torch.tensor([0.5, 1e-4 / 3, 1.0]).double())


def test_tightness_is_that_of_squares_around_corners():
    # Each class is four points at distance r of its mean; the means are at distance R of the centre.
    r, R = 0.5, 3.0
    square = r * torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    angles = torch.tensor([0.0, 2 * math.pi / 3, 4 * math.pi / 3])
    means = R * torch.stack([angles.cos(), angles.sin()], dim=1)
    points, labels = (means[:, None] + square).reshape(-1, 2), torch.tensor([4, 9, 2]).repeat_interleave(4)
    assert tightness(points, labels).item() == pytest.approx((r / R) ** 2, rel=1e-6)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    assert tightness(100 * points @ turn + 7, labels).item() == pytest.approx((r / R) ** 2, rel=1e-4)


def test_a_class_weighs_by_its_size():
    points, labels = torch.tensor([[0.0], [0.0], [0.0], [3.0], [5.0]]), torch.tensor([0, 0, 0, 1, 1])
    # means 0, 4 and 1.6: within 1 + 1, between 3 * 1.6^2 + 2 * 2.4^2
    assert tightness(points, labels).item() == pytest.approx(2 / (3 * 1.6**2 + 2 * 2.4**2))


def test_classes_of_one_point_each_are_as_tight_as_can_be():
    assert tightness(torch.eye(3), torch.arange(3)).item() == 0


def test_a_single_class_has_no_tightness():
    assert not tightness(torch.eye(3), torch.zeros(3, dtype=torch.int64)).isfinite()
    points = torch.rand(1000, 7, generator=torch.Generator().manual_seed(0))
    assert tightness(points, torch.full((1000,), 4)).item() == float("inf")
