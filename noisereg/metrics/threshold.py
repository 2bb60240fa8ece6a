"""Above which output a unit counts as active."""

import math
import re
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

_RELATIVE = ("largest", "rms")


@dataclass(frozen=True)
class Threshold:
    """A unit is active on a sample where its output is greater than a limit: 0 unless another one is asked for.

    GELU, SiLU and their like are never exactly 0; for them the share of outputs above a small limit says more. A
    relative limit is that of each sample (or token) alone, so that no count depends on the size of a batch.

    Args:
        value: the limit, at least 0, or the factor of a relative one.
        of: None for an absolute limit; "largest" or "rms": value times the greatest absolute output, or times the root
            of the mean square, of all units of the layer on the same sample.
        magnitude: whether the absolute output is compared, as for the products of gated layers, which have both signs.

    Raises:
        ValueError: if value is below 0 or not finite, or `of` is unknown.

    Example:
        >>> Threshold().suffix, Threshold(0.1, of="rms").suffix, Threshold(0.1, magnitude=True).suffix
        ('', '_above_0.1_of_rms', '_abs_above_0.1')
        >>> import torch
        >>> Threshold(0.5, of="largest").limits(torch.tensor([[1.0, -4.0], [0.0, 1.0]])).tolist()
        [[2.0], [0.5]]
    """

    value: float = 0.0
    of: str | None = None
    magnitude: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise ValueError(f"threshold must be finite and at least 0, got {self.value}")
        if self.of not in (None, *_RELATIVE):
            raise ValueError(f"threshold must be relative to 'largest' or 'rms', or to nothing, got {self.of!r}")

    @classmethod
    def parse(cls, threshold: "float | str | Threshold | None", *, magnitude: bool = False) -> "Threshold":
        """Return the threshold that a number or a text stands for.

        Args:
            threshold: a number, or a text as "0.1 of rms" or "0.01 of largest"; None for 0.
            magnitude: see the class; looked at unless a Threshold is given.

        Raises:
            ValueError: if it is none of these.

        Example:
            >>> Threshold.parse("0.1 of rms")
            Threshold(value=0.1, of='rms', magnitude=False)
        """
        if isinstance(threshold, Threshold):
            return threshold
        if threshold is None:
            return cls(magnitude=magnitude)
        text = re.fullmatch(r"\s*(\S+)\s+of\s+(\w+)\s*", threshold) if isinstance(threshold, str) else None
        number, of = (text[1], text[2]) if text else (threshold, None)
        try:
            if isinstance(number, bool):
                raise ValueError
            value = float(number)
        except (TypeError, ValueError):
            raise ValueError(
                f"threshold must be a number, or a text as '0.1 of rms' or '0.01 of largest', got {threshold!r}"
            ) from None
        return cls(value, of=of, magnitude=magnitude)

    @property
    def suffix(self) -> str:
        """What stands behind the names of metrics; empty where active means an output > 0."""
        if self.value == 0 and not self.magnitude:
            return ""
        relative = f"_of_{self.of}" if self.of else ""
        return f"{'_abs' if self.magnitude else ''}_above_{self.value:g}{relative}"

    def limits(self, activations: Float[Tensor, "batch *units"]) -> float | Float[Tensor, "batch *ones"]:
        """Compute the limit of each sample; one number if it is absolute."""
        if self.of is None or self.value == 0:
            return self.value
        axes = tuple(range(1, activations.ndim))
        sizes = activations.detach().abs().float()
        if axes:
            sizes = sizes.amax(axes, keepdim=True) if self.of == "largest" else sizes.square().mean(axes, True).sqrt()
        return self.value * sizes
