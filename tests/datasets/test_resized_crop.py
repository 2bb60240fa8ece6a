import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional

from noisereg.datasets.resized_crop import draw_crop, resized_crop

FIVE_SIGMA = 5.7e-7  # probability beyond, both sides


def photo(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def decisions(width, height, n=2000):
    return [draw_crop(width, height, seed=3, draw=1, index=index) for index in range(n)]


@pytest.mark.parametrize(("width", "height"), [(300, 200), (120, 240)])
def test_parts_have_the_law_of_torchvision(width, height):
    image = torch.empty(3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        peers = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)]
    theirs = np.array([(left, top, w, h) for top, left, h, w in peers])
    boxes = np.array([box for box, _ in decisions(width, height)])
    mine = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    for quantity in (*range(4), "area", "ratio"):
        values = [
            rows[:, 2] * rows[:, 3]
            if quantity == "area"
            else rows[:, 2] / rows[:, 3]
            if quantity == "ratio"
            else rows[:, quantity]
            for rows in (mine, theirs)
        ]
        assert scipy.stats.ks_2samp(*values).pvalue > FIVE_SIGMA, quantity


def test_half_of_the_parts_are_flipped():
    flips = sum(flip for _, flip in decisions(64, 64, n=1000))
    assert abs(flips - 500) < 5 * np.sqrt(250)


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(1000, 10, (493, 0, 506, 10)), (9, 900, (0, 444, 9, 456)), (1, 1, (0, 0, 1, 1))],
)
def test_a_photo_too_narrow_for_any_part_gives_its_centre(width, height, box):
    assert {decision.box for decision in decisions(width, height, n=20)} == {box}


def test_pixels_are_those_of_torchvision():
    picture = photo(50, 40)
    seen = set()
    for index in range(6):
        (left, top, right, bottom), flip = draw_crop(50, 40, seed=0, draw=2, index=index)
        part = functional.resized_crop(picture, top, left, bottom - top, right - left, [16, 16])
        expected = functional.horizontal_flip(part) if flip else part
        mine = resized_crop(picture, 16, seed=0, draw=2, index=index)
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(expected))
        seen.add(flip)
    assert seen == {True, False}


def test_each_seed_draw_and_index_has_a_part_of_its_own():
    names = [(seed, draw, index) for seed in range(3) for draw in range(3) for index in range(3)]
    parts = {draw_crop(500, 400, seed=seed, draw=draw, index=index).box for seed, draw, index in names}
    assert len(parts) == len(names)


def test_gray_photos_become_three_equal_channels():
    image = np.asarray(resized_crop(Image.new("L", (30, 20), 7), 8, seed=0, draw=0, index=0))
    np.testing.assert_array_equal(image, np.full((8, 8, 3), 7))
