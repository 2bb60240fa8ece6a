import pytest
import torch
from PIL import Image

from benchmarks import image_training
from benchmarks.pipeline import RandomImages
from noisereg.datasets import Split


@pytest.fixture(scope="module")
def data():
    images = RandomImages(batch_size=4, test_size=5, train_eval_size=3)
    images.setup()
    return images


def test_an_image_comes_as_pil_with_its_label():
    pixels = torch.arange(24, dtype=torch.uint8).view(1, 2, 4, 3)
    images = image_training.PilImages(Split(pixels.permute(0, 3, 1, 2), torch.tensor([7])), lambda image: image)
    image, label = images[0]
    assert isinstance(image, Image.Image) and image.size == (4, 2) and (len(images), label) == (1, 7)
    assert image.getpixel((3, 1)) == (21, 22, 23)


def test_the_plain_loop_shows_the_network_normalised_crops_of_the_data(data):
    images, labels = next(iter(image_training.PlainLoop(data, steps=1, workers=0).loader))
    assert images.shape == (4, 3, 32, 32) and labels.shape == (4,)
    means, stds = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    bytes_shown = 255 * (images * stds + means)
    assert (bytes_shown - bytes_shown.round()).abs().max() < 1e-3
    assert bytes_shown.min() > -1e-3 and bytes_shown.max() < 255 + 1e-3


def test_both_trainings_make_the_warm_up_and_the_steps_that_are_asked_for(data):
    plain = image_training.PlainLoop(data, steps=2, workers=0)
    ours = image_training.Training(data, steps=2, precision="32-true")
    assert 0 < plain() < 60 and 0 < ours() < 60
    assert plain.net.bn1.num_batches_tracked == ours.module.model.bn1.num_batches_tracked == 5
    assert ours.warm_up > 0


def test_an_evaluation_shows_the_network_every_image_once(data):
    training = image_training.Training(data, steps=1, precision="32-true")
    shown = []
    training.module.model.register_forward_hook(lambda module, inputs, outputs: shown.append(len(outputs)))
    assert image_training.evaluate(training, counted=False) > 0 and image_training.evaluate(training, counted=True) > 0
    assert shown == 2 * [5, 3]
