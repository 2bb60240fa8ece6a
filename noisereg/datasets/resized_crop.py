"""Random parts of a photo, scaled to one size, each a function of (seed, draw, index)."""

import math
from typing import NamedTuple

import torch
from PIL import Image

from noisereg import rng
from noisereg.rng import Stream

SHARES = (0.08, 1.0)  # of the photo's area
RATIOS = (3 / 4, 4 / 3)  # width over height
_TRIALS = 10
_PER_DRAW = 4 * _TRIALS + 1  # random numbers


class Crop(NamedTuple):
    """A part of a photo, as its left, top, right and bottom edge in pixels, and whether it is flipped."""

    box: tuple[int, int, int, int]
    flip: bool


def resized_crop(picture: Image.Image, size: int, *, seed: int, draw: int, index: int) -> Image.Image:
    """Return a random part of a photo, scaled to a square and flipped left to right with probability 1/2.

    Args:
        picture: of any size and mode.
        size: height and width of the result, in pixels.
        seed: of the augmentation.
        draw: with `index` it names one visit of one sample.
        index: of the photo.

    Returns:
        An RGB image.

    Example:
        >>> resized_crop(Image.new("RGB", (64, 48)), 32, seed=0, draw=0, index=0).size
        (32, 32)
    """
    box, flip = draw_crop(*picture.size, seed=seed, draw=draw, index=index)
    part = picture.crop(box).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else part


def draw_crop(width: int, height: int, *, seed: int, draw: int, index: int) -> Crop:
    """Draw the part of a photo of width x height pixels that one visit shows.

    Its share of the area is uniform on [0.08, 1], the logarithm of its ratio of width to height is uniform between
    those of 3/4 and 4/3, and its place is uniform. A part that does not fit into the photo is drawn again, up to ten
    times in all; then the largest one about the centre is taken whose ratio is allowed.

    Source: C. Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6.

    Example:
        >>> (left, top, right, bottom), flip = draw_crop(64, 48, seed=0, draw=0, index=0)
        >>> 0 <= left < right <= 64 and 0 <= top < bottom <= 48
        True
    """
    place = torch.arange(_PER_DRAW * index, _PER_DRAW * (index + 1))
    *trials, flip = rng.uniform(seed, Stream.AUGMENT, draw, place).tolist()
    for share, ratio, right, down in zip(*[iter(trials)] * 4, strict=True):
        area = width * height * _between(SHARES, share)
        shape = math.exp(_between((math.log(RATIOS[0]), math.log(RATIOS[1])), ratio))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            left, top = int((width - w + 1) * right), int((height - h + 1) * down)
            return Crop((left, top, left + w, top + h), flip < 0.5)
    w, h = min(width, round(height * RATIOS[1])), min(height, round(width / RATIOS[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return Crop((left, top, left + w, top + h), flip < 0.5)


def _between(ends: tuple[float, float], u: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * u
