from pathlib import Path

import pytest
import torch
from torchvision.transforms.v2 import functional

from noisereg.datasets import Split
from noisereg.datasets.augment import crop_flip
from noisereg.datasets.images import Images, Normalize, Statistics, channel_statistics
from noisereg.errors import DatasetError


def make_images(n):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, 6, 5), dtype=torch.uint8, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


class Noise(Images):
    num_classes = 2
    input_shape = (3, 6, 5)
    statistics = Statistics((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))

    def load(self):
        return Split(make_images(40), torch.arange(40) % 2), Split(make_images(10), torch.arange(10) % 2)


class Gray(Noise):
    input_shape = (1, 6, 5)


def set_up(**settings):
    data = Noise("data", **{"normalize": "unit", "augment": False, **settings})
    data.setup()
    return data


@pytest.mark.parametrize(
    ("normalize", "mean", "std"),
    [
        ("unit", [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        ("standard", [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]),
        ("imagenet", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ],
)
def test_batches_are_normalised_as_torchvision_does(normalize, mean, std):
    data = set_up(normalize=normalize)
    inputs = next(iter(data.val_dataloader()[0]))["input"]
    scaled = functional.to_dtype(make_images(10), torch.float32, scale=True)
    torch.testing.assert_close(inputs, functional.normalize(scaled, mean, std), rtol=1e-5, atol=1e-6)
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_images_stay_bytes_in_memory():
    assert set_up().splits["train"].inputs.dtype == torch.uint8


def test_only_training_batches_are_augmented():
    data = set_up(augment=True, batch_size=40, seed=5)
    loader = data.train_dataloader()
    loader.set_epoch(2)
    batch = next(iter(loader))
    images = data.splits["train"].inputs[batch["index"]]
    expected = crop_flip(images, seed=5, draw=batch["draw"], index=batch["index"])
    assert torch.equal(batch["input"], expected / 255)
    plain = next(iter(data.val_dataloader()[1]))["input"]
    assert torch.equal(plain, make_images(40) / 255)


def test_augmented_images_do_not_depend_on_the_batch_size():
    def epoch(batch_size):
        return torch.cat([b["input"] for b in set_up(augment=True, batch_size=batch_size).train_dataloader()])

    assert torch.equal(epoch(1), epoch(40))
    assert torch.equal(epoch(7), epoch(40))


def test_normalising_leaves_the_bytes_as_they_were():
    images = make_images(3)
    Normalize(Statistics((0.5,) * 3, (0.1,) * 3), (3, 6, 5))(images)
    assert torch.equal(images, make_images(3))


def test_channel_statistics_are_mean_and_standard_deviation():
    pixels = (make_images(40) / 255).double()
    mean, std = channel_statistics(make_images(40))
    torch.testing.assert_close(torch.tensor(mean), pixels.mean(dim=(0, 2, 3)).float())
    torch.testing.assert_close(torch.tensor(std), pixels.std(dim=(0, 2, 3), correction=0).float())


@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_a_constant_channel_has_no_deviation_at_all(level):
    images = make_images(3)
    images[:, 1] = level
    assert channel_statistics(images).std[1] == 0.0


def test_a_channel_without_deviation_is_centred_and_not_scaled():
    images = torch.tensor([[[[100, 151]]]], dtype=torch.uint8)
    normalized = Normalize(Statistics((100 / 255,), (0.0,)), (1, 1, 2))(images)
    torch.testing.assert_close(normalized, torch.tensor([[[[0.0, 0.2]]]]))


def test_normalisation_must_be_known():
    with pytest.raises(ValueError, match=r"^normalize must be one of unit, standard, imagenet, got none"):
        set_up(normalize="none")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("augment", ["resized_crop", 1, None])
def test_augmentation_must_be_asked_for_or_not(augment):
    with pytest.raises(ValueError, match=f"^augment must be True or False, got {augment}"):
        set_up(augment=augment)


def test_a_root_without_permission_is_named(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    data = set_up()
    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(DatasetError, match=r"data/MNIST cannot be read \(Permission denied\); .* root=PATH"):
        data.holds(data.root / "MNIST")


def test_imagenet_statistics_need_three_channels():
    with pytest.raises(ValueError, match=r"normalize=imagenet needs 3 channels, Gray has 1; use standard"):
        Gray("data", normalize="imagenet", augment=False)
