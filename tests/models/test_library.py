import pytest
import torch
import torchvision.models

from noisereg import rng
from noisereg.models.library import torchvision_model


def test_the_network_is_torchvisions_own_with_its_layer_names():
    ours = torchvision_model((3, 32, 32), 7, name="resnet18")
    theirs = torchvision.models.resnet18(num_classes=7)
    assert type(ours) is type(theirs)
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]


def test_weights_are_torchvisions_own_draws_from_the_seed():
    with rng.library_generator(5):
        theirs = torchvision.models.squeezenet1_1(num_classes=7).state_dict()
    ours = torchvision_model((3, 32, 32), 7, name="squeezenet1_1", seed=5).state_dict()
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())


@pytest.mark.parametrize(
    "name", ["mobilenet_v3_small", "regnet_x_400mf", "shufflenet_v2_x0_5", "densenet121", "swin_t"]
)
def test_the_trial_leaves_no_trace_in_the_network(name):
    with rng.library_generator(0):
        theirs = torchvision.models.get_model(name, num_classes=7).state_dict()
    ours = torchvision_model((3, 64, 64), 7, name=name)
    assert ours.training
    assert all(module.training for module in ours.modules())
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "mnasnet0_5"])
def test_the_network_trains_on_its_outputs(name):
    model = torchvision_model((3, 32, 32), 7, name=name)
    logits = model(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("name", "mend"), [("resnet81", "resnet18"), ("ResNet50", "resnet50"), ("vgg_16", "vgg16")])
def test_an_unknown_name_is_answered_with_a_near_one(name, mend):
    with pytest.raises(ValueError, match=f"got '{name}'; did you mean .*{mend}.*\\?"):
        torchvision_model((3, 32, 32), 7, name=name)


def test_a_name_like_no_other_is_answered_with_where_to_look():
    with pytest.raises(ValueError, match=r"got 'zzz'; see torchvision.models.list_models\(\)"):
        torchvision_model((3, 32, 32), 7, name="zzz")


@pytest.mark.parametrize("name", ["fcos_resnet50_fpn", "raft_small", "r3d_18"])
def test_networks_for_other_tasks_are_refused(name):
    assert name in torchvision.models.list_models()
    with pytest.raises(ValueError, match=f"name must be a classifier of torchvision, got '{name}'"):
        torchvision_model((3, 32, 32), 7, name=name)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_several_heads_are_refused(name):
    with pytest.raises(ValueError, match=f"got '{name}', which returns a tuple in training"):
        torchvision_model((3, 299, 299), 7, name=name)


@pytest.mark.parametrize("shape", [(60,), (1, 28, 28), (32, 32, 3)])
def test_inputs_that_are_no_colour_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"input_shape must be \(3, height, width\)"):
        torchvision_model(shape, 7)


@pytest.mark.parametrize("name", ["alexnet", "maxvit_t"])
def test_images_of_a_size_the_network_cannot_take_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name} does not take inputs of shape \(3, 32, 32\): "):
        torchvision_model((3, 32, 32), 7, name=name)


def test_no_outputs_are_refused():
    with pytest.raises(ValueError, match="num_outputs must be a whole number, at least 1, got 0"):
        torchvision_model((3, 32, 32), 0)
