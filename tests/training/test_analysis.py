from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from run_program import read_result, run_program
from torch import nn
from torchmetrics.functional.classification import multiclass_calibration_error

from noisereg.datasets import ImageFolder, InMemory, Split
from noisereg.engine.classifier import Classifier
from noisereg.losses import CrossEntropy
from noisereg.metrics import class_plane, project_features, tightness
from noisereg.models import MLP, Neuron, ResNet
from noisereg.training import analysis
from noisereg.training.analysis import analyse

SHAPE = (3, 8, 8)


class Blobs(InMemory):
    """Images of four classes, the brighter the higher their class, in an order that mixes them."""

    num_classes, input_shape = 4, SHAPE

    def load(self):
        generator = torch.Generator().manual_seed(0)
        labels = [torch.arange(n) * 7 % 4 for n in (60, 50)]
        images = [torch.randn(len(y), *SHAPE, generator=generator) + y[:, None, None, None] for y in labels]
        train, test = map(Split, images, labels)
        return train, test


class Shared(Blobs):
    """The same, of which this process evaluates every other sample."""

    def _rank_and_world(self):
        return 1, 2


def _data(kind=Blobs, **settings):
    data = kind(**{"eval_batch_size": 16, "train_eval_size": 31, **settings})
    data.setup()
    return data


def _trainer(precision="32-true"):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", precision=precision, enable_model_summary=False, **quiet)


def run_analysis(module, data, trainer):
    plugin = trainer.precision_plugin
    return analyse(
        module, data, device=torch.device("cpu"), context=plugin.forward_context, convert=plugin.convert_input
    )


def _module(model, **settings):
    return Classifier(
        model, CrossEntropy(), num_classes=4, optimizer=partial(torch.optim.SGD, lr=0.1), seed=0, **settings
    )


@pytest.fixture
def model():
    return MLP(SHAPE, 4, hidden=[12, 20], seed=1).requires_grad_(False)


def _features(model, inputs):
    return model.relu2(model.linear2(model.relu1(model.linear1(model.vector(inputs)))))


def test_calibration_is_that_of_a_plain_pass_over_the_test_split(model):
    data = _data()
    found, test = run_analysis(_module(model), data, _trainer()), data.splits["test"]
    probabilities = model(test.inputs).softmax(dim=1)
    right = probabilities[torch.arange(50), test.labels]
    assert found.values["test/nll"] == pytest.approx(-right.log().mean().item(), rel=1e-5)
    ece = multiclass_calibration_error(probabilities, test.labels, num_classes=4)
    assert found.values["test/ece"] == pytest.approx(ece.item(), abs=1e-5)
    assert found.arrays["reliability_count"].dtype == np.int64
    assert found.arrays["reliability_count"].sum() == 50
    assert {found.arrays[f"reliability_{key}"].shape for key in ("count", "confidence", "accuracy")} == {(15,)}
    assert found.notes == []


def test_points_and_tightness_are_those_of_plain_passes_over_both_splits(model):
    data = _data()
    found = run_analysis(_module(model), data, _trainer())
    origin, basis = class_plane(model.output.weight[:3])
    place = partial(project_features, origin=origin, basis=basis)
    for name, split in (("test", data.splits["test"]), ("train", data.eval_samples("train"))):
        chosen = split.labels < 3
        points, labels = place(_features(model, split.inputs[chosen])), split.labels[chosen]
        assert found.arrays[f"plane_{name}_points"].dtype == np.float32
        np.testing.assert_allclose(found.arrays[f"plane_{name}_points"], points.numpy(), atol=1e-5)
        np.testing.assert_array_equal(found.arrays[f"plane_{name}_labels"], labels.numpy())
        assert found.values[f"{name}/tightness"] == pytest.approx(tightness(points, labels).item(), rel=1e-4)
    np.testing.assert_allclose(found.arrays["plane_templates"], place(model.output.weight[:3]).numpy(), rtol=1e-5)
    assert found.arrays["plane_classes"].tolist() == [0, 1, 2]


def test_planted_copies_and_dead_units_do_not_count(model):
    for tensor in (model.linear2.weight, model.linear2.bias):
        tensor[5:8] = torch.tensor([2.0, 3.0, 4.0]).view(3, *[1] * (tensor.ndim - 1)) * tensor[0]
    model.linear2.bias[9] = -1e6
    data = _data()
    hidden = _features(model, data.splits["test"].inputs).double().numpy()
    live = [unit for unit in range(20) if hidden[:, unit].any()]
    linked = np.corrcoef(hidden[:, live], rowvar=False) > 0.95
    groups = {tuple(np.linalg.matrix_power(linked.astype(float), 20)[row] > 0) for row in range(len(live))}
    firsts = [live[group.index(True)] for group in groups]
    active = (hidden[:, firsts] > 0).sum(axis=1).mean()

    values = run_analysis(_module(model), data, _trainer()).values
    assert values["test/distinct_neurons/relu2"] == len(firsts) <= 16
    assert values["test/distinct_active_neurons/relu2"] == pytest.approx(active)
    assert values["test/distinct_active_fraction/relu2"] == pytest.approx(active / len(firsts))


def test_a_process_that_evaluates_a_share_analyses_whole_splits(model):
    whole, shared = (run_analysis(_module(model), _data(kind), _trainer()) for kind in (Blobs, Shared))
    assert shared.values == pytest.approx(whole.values, rel=1e-5)
    for name, array in whole.arrays.items():
        np.testing.assert_allclose(shared.arrays[name], array, atol=1e-5)


def test_the_module_is_left_as_it_was():
    module = _module(ResNet(SHAPE, 4, depth=8), channels_last=True)
    module.model.bn1.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = run_analysis(module, _data(), _trainer())
    assert found.values["test/distinct_neurons/layer3.0.relu2"] <= 64 * 2 * 2
    assert {name for name, part in module.named_modules() if not part.training} == {"model.bn1"}
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert module.model.conv1.weight.grad is None


def test_the_network_runs_in_the_precision_of_the_trainer(model):
    data = _data()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = nn.functional.cross_entropy(model(data.splits["test"].inputs).double(), data.splits["test"].labels)
    found = {
        precision: run_analysis(_module(model), data, _trainer(precision)) for precision in ("bf16-mixed", "32-true")
    }
    assert found["bf16-mixed"].values["test/nll"] == pytest.approx(expected.item(), rel=1e-6)
    assert found["32-true"].values["test/nll"] != pytest.approx(expected.item(), rel=1e-6)


def test_double_precision_is_kept(model):
    data = _data()
    expected = run_analysis(_module(model), data, _trainer()).values
    found = run_analysis(_module(model.double()), data, _trainer("64-true")).values
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_network_of_one_output_without_relus_has_its_calibration_alone():
    data = _data()
    for split in data.splits.values():
        split.labels.clamp_(max=1)
    found = run_analysis(_module(Neuron(SHAPE, 1)), data, _trainer())
    assert found.values.keys() == {"test/ece", "test/nll", "test/brier"}
    assert all(name.startswith("reliability") for name in found.arrays)
    assert found.notes == []


def test_templates_on_a_line_leave_the_plane_out_and_say_so(model):
    model.output.weight[1] = model.output.weight[0]
    found = run_analysis(_module(model), _data(), _trainer())
    (note,) = found.notes
    assert note.startswith("the plane of three classes: templates must not lie on a line")
    assert not any("tightness" in name for name in found.values)
    assert not any("plane" in name for name in found.arrays)
    assert "test/distinct_neurons/relu2" in found.values


def test_a_layer_of_too_many_units_is_left_out_and_said_so(model, monkeypatch):
    monkeypatch.setattr(analysis, "_MAX_UNITS", 19)
    found = run_analysis(_module(model), _data(), _trainer())
    assert found.notes == ["distinct units: relu2 has 20, more than 19"]
    assert not any("distinct" in name for name in found.values)


def test_the_first_points_of_each_class_are_kept(model, monkeypatch):
    whole = run_analysis(_module(model), _data(), _trainer())
    monkeypatch.setattr(analysis, "_POINTS", 2)
    found = run_analysis(_module(model), _data(), _trainer())
    assert found.values == whole.values
    assert found.arrays["plane_test_labels"].tolist() == [0, 2, 1, 0, 2, 1]  # of 0 3 2 1 0 3 2 1 ...
    np.testing.assert_array_equal(found.arrays["plane_test_points"], whole.arrays["plane_test_points"][:6])


def test_a_value_that_is_no_number_is_left_out(model):
    found = run_analysis(_module(model), _data(train_eval_size=1), _trainer())  # of one class
    assert "test/tightness" in found.values and "train/tightness" not in found.values
    assert found.arrays["plane_train_points"].shape == (1, 2)


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Twelve training and nine test images in three classes."""
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 3)):
        for place, name in enumerate("abc"):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(60 * place, 60 * place + 100, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_streamed_images_are_analysed_as_those_in_memory(images):
    model, found = MLP(SHAPE, 3, hidden=6), {}
    for stream in (False, True):
        data = _data(ImageFolder, root=images, image_size=8, stream=stream, train_eval_size=None)
        found[stream] = run_analysis(_module(model), data, _trainer())
    assert found[True].values == found[False].values
    assert found[True].arrays.keys() == found[False].arrays.keys()


def test_a_run_leaves_its_analysis(images, tmp_path):
    arguments = ["model=resnet20", "model.depth=8", "dataset=image_folder", f"dataset.root={images}"]
    arguments += ["dataset.image_size=8", "dataset.batch_size=4", "dataset.val_size=4", "trainer.max_epochs=2"]
    arguments += ["callbacks.sparsity.every_n_epochs=1", "noise.p=0.1", "trainer.precision=32-true"]
    done = run_program(*arguments, "logger=csv", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = read_result(tmp_path / "run")["replicas"]
    layer = "layer3.0.relu2"
    measured = {"test/ece", "test/nll", "test/brier", "test/tightness", "train/tightness"}
    measured |= {f"test/distinct_{key}/{layer}" for key in ("neurons", "active_neurons", "active_fraction")}
    assert measured <= row.keys()
    assert row["test/nll"] == pytest.approx(row["test/loss"], rel=1e-5)
    assert 1 <= row[f"test/distinct_neurons/{layer}"] <= 256 * (1 - row[f"test/dead_fraction/{layer}"]) + 1e-3
    assert row["selected/test/error"] >= row["best/test/error"]
    assert row["selected/test/error/epoch"] in (0, 1, 2)
    with np.load(tmp_path / "run" / "analysis.npz", allow_pickle=False) as arrays:
        assert arrays["0/reliability_count"].sum() == 9
        assert arrays["0/plane_templates"].shape == (3, 2)
        assert arrays["0/plane_test_points"].shape == (9, 2)
        assert len(arrays["0/plane_train_points"]) == len(arrays["0/plane_train_labels"]) == 8
