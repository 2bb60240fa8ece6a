"""Random crops and flips of a whole batch at once, each a function of (seed, draw, index).

Pixels are moved by `index_select` on views whose rows are contiguous memory, which copies row by row; indexing by
several tensors goes element by element and takes four times as long.
"""

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from noisereg import rng
from noisereg.rng import Stream


def crop_flip(
    images: UInt8[Tensor, "batch c h w"],
    *,
    padding: int = 4,
    seed: int,
    draw: Int64[Tensor, " batch"],
    index: Int64[Tensor, " batch"],
) -> UInt8[Tensor, "batch c h w"]:
    """Crop images at random, after padding with zeros, and flip them left to right with probability 1/2.

    An image's decision depends on its draw and index alone, so it is the same in any batch, on any device.

    Args:
        images: at least one; fastest in channels-last memory.
        padding: width of the border; a crop moves by up to this many pixels each way.
        seed: of the augmentation.
        draw: of each image; with `index` it names one visit of one sample.
        index: of each image.

    Returns:
        New images, in channels-last memory.

    Example:
        >>> row = torch.arange(4)
        >>> crop_flip(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), seed=0, draw=row, index=row).shape
        torch.Size([4, 3, 32, 32])
    """
    down, right, flip = draw_crop_flips(padding, seed=seed, draw=draw, index=index)
    n, channels, height, width = images.shape
    number = torch.arange(n, device=images.device)
    pixels = images.permute(0, 2, 3, 1)
    flipped = torch.cat([pixels, pixels.flip(2)]).index_select(0, number + n * flip)
    padded = torch.nn.functional.pad(flipped, [0, 0, padding, padding, padding, padding])
    rows = padded.view(-1).unfold(0, width * channels, channels)
    first_row = number * (height + 2 * padding) + down
    starts = (first_row[:, None] + torch.arange(height, device=images.device)) * (width + 2 * padding) + right[:, None]
    return rows.index_select(0, starts.flatten()).view(n, height, width, channels).permute(0, 3, 1, 2)


def draw_crop_flips(
    padding: int, *, seed: int, draw: Int64[Tensor, " batch"], index: Int64[Tensor, " batch"]
) -> tuple[Int64[Tensor, " batch"], Int64[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Draw where each crop begins in the padded image, down and right, and whether the image is flipped first.

    One uniform draw chooses among the 2 (2 padding + 1)^2 decisions.

    Example:
        >>> down, right, flip = draw_crop_flips(0, seed=0, draw=torch.tensor([0]), index=torch.tensor([0]))
        >>> down, right
        (tensor([0]), tensor([0]))
    """
    places = 2 * padding + 1
    choice = (2 * places**2 * rng.uniform(seed, Stream.AUGMENT, draw, index)).long()
    return choice // 2 // places, choice // 2 % places, choice % 2 == 1
