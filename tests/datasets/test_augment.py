import pytest
import scipy.stats
import torch
from torchvision.transforms.v2 import functional

from noisereg import rng
from noisereg.datasets.augment import crop_flip, draw_crop_flips
from noisereg.rng import Stream


def make_images(n, *, channels=3, height=32, width=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 28, 28), (2, 5, 9)])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_crop_flip_moves_pixels_as_torchvision_does(channels, height, width, padding, memory_format):
    images = make_images(64, channels=channels, height=height, width=width).contiguous(memory_format=memory_format)
    names = {"seed": 3, "draw": torch.arange(64) // 8, "index": torch.arange(64) % 8}
    down, right, flip = (part.tolist() for part in draw_crop_flips(padding, **names))
    for i, image in enumerate(crop_flip(images, padding=padding, **names)):
        expected = functional.horizontal_flip(images[i]) if flip[i] else images[i]
        expected = functional.crop(functional.pad(expected, [padding]), down[i], right[i], height, width)
        assert torch.equal(image, expected)


def test_decisions_are_uniform():
    down, right, flip = draw_crop_flips(4, seed=0, draw=torch.full((162_000,), 2), index=torch.arange(162_000))
    counts = torch.bincount((down * 9 + right) * 2 + flip, minlength=162)
    assert len(counts) == 162
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_one_draw_names_the_decision_from_release_to_release():
    draw, index = torch.tensor([0, 3, 3]), torch.tensor([5, 5, 6])
    choices = [int(162 * u) for u in rng.uniform(7, Stream.AUGMENT, draw, index).tolist()]
    expected = [(c // 18, c % 18 // 2, c % 2 == 1) for c in choices]
    decisions = draw_crop_flips(4, seed=7, draw=draw, index=index)
    assert list(zip(*(part.tolist() for part in decisions), strict=True)) == expected


def test_an_image_is_augmented_the_same_in_any_batch():
    images, draw, index = make_images(20), torch.arange(20) // 5, torch.arange(20) % 5
    whole = crop_flip(images, seed=0, draw=draw, index=index)
    order = torch.tensor([7, 3, 19, 3])
    assert torch.equal(crop_flip(images[order], seed=0, draw=draw[order], index=index[order]), whole[order])


def test_draws_indices_and_seeds_decide_apart():
    def decide(seed, draw, index):
        indices = torch.arange(index, index + 100)
        return torch.stack(draw_crop_flips(4, seed=seed, draw=torch.full((100,), draw), index=indices))

    for other in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert (decide(0, 0, 0) != decide(*other)).any()


def test_global_generator_plays_no_part():
    images, row = make_images(8), torch.arange(8)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = crop_flip(images, seed=0, draw=row, index=row)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(crop_flip(images, seed=0, draw=row, index=row), first)


def test_stored_images_are_left_as_they_were():
    images, row = make_images(8), torch.arange(8)
    crop_flip(images, seed=0, draw=row, index=row).zero_()
    assert torch.equal(images, make_images(8))
