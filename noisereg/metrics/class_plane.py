"""The plane through the templates of three classes, and how tight the classes lie on it."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

_FLAT = 1e-6  # height of a triangle over its longest side, below which its corners lie on a line


def class_plane(
    templates: Float[Tensor, "3 features"],
) -> tuple[Float64[Tensor, " features"], Float64[Tensor, "2 features"]]:
    """Compute the plane through the templates of three classes.

    A class's template is its row in the weight of the last linear layer. The origin is the mean of the three; the
    first axis points from the first template to the second, and the third lies on the positive side of it.

    Args:
        templates: three vectors that do not lie on a line.

    Returns:
        The origin and two orthonormal axes.

    Raises:
        ValueError: if the templates lie on a line.

    Example:
        >>> class_plane(torch.tensor([[0.0, 0.0, 6.0], [3.0, 0.0, 6.0], [3.0, 3.0, 6.0]]))
        (tensor([2., 1., 6.], dtype=torch.float64), tensor([[1., 0., 0.],
                [0., 1., 0.]], dtype=torch.float64))

    Source:
        R. Mueller, S. Kornblith, G. Hinton, "When does label smoothing help?", NeurIPS 2019, section 2.
    """
    corners = templates.detach().double()
    first, second = corners[1:] - corners[0]
    longest = torch.stack([first, second, second - first]).norm(dim=1).max()
    along = first / first.norm()
    across = second - (second @ along) * along
    across = across - (across @ along) * along  # once more, as the first time leaves a rounding error
    height = first.norm() * across.norm() / longest
    if not height > _FLAT * longest:
        raise ValueError(
            f"templates must not lie on a line, got a triangle of length {longest:.3g} and height {height:.3g}; "
            "take other classes"
        )
    return corners.mean(dim=0), torch.stack([along, across / across.norm()])


def project_features(
    features: Float[Tensor, "samples features"],
    *,
    origin: Float64[Tensor, " features"],
    basis: Float64[Tensor, "2 features"],
) -> Float64[Tensor, "samples 2"]:
    """Compute the coordinates of features on a plane.

    Args:
        features: of the samples, in the space of the templates.
        origin: of the plane.
        basis: its orthonormal axes.

    Example:
        >>> origin, basis = torch.ones(3).double(), torch.eye(3).double()[:2]
        >>> project_features(torch.tensor([[2.0, 3.0, 9.0]]), origin=origin, basis=basis)
        tensor([[1., 2.]], dtype=torch.float64)
    """
    return (features.double() - origin) @ basis.T


def tightness(points: Float[Tensor, "samples axes"], labels: Int64[Tensor, " samples"]) -> Float64[Tensor, ""]:
    """Compute the scatter within the classes over that between them: the smaller, the tighter the clusters.

    Both are traces: the sum of squared distances of the points to the mean of their class, over the sum of squared
    distances of that mean to the mean of all points, each class weighted by its size. Neither the unit of length nor
    a rotation or a shift changes the ratio.

    Args:
        points: in any number of dimensions.
        labels: class of each point; any whole numbers.

    Returns:
        At least 0; infinite or nan if the means of the classes coincide, as that of a single class does with the mean
        of all points.

    Example:
        >>> tightness(torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([0, 0, 7, 7]))
        tensor(0.1111, dtype=torch.float64)
    """
    points = points.double()
    classes, place = labels.unique(return_inverse=True)
    counts = torch.bincount(place, minlength=len(classes))
    means = points.new_zeros(len(classes), points.shape[1]).index_add_(0, place, points) / counts[:, None]
    within = (points - means[place]).square().sum()
    center = points.mean(dim=0) if len(classes) > 1 else means  # the same, where the sums could round apart
    between = (means[place] - center).square().sum()
    return within / between
