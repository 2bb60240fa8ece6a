import sys

import pytest
import torch

from noisereg.config.sections import built_sections, defining_name, leaves, same_target, walk
from noisereg.losses import Hinge
from noisereg.noise import Resample

CONFIG = {"seed": 0, "model": {"hidden": [3, {"a": None}], "empty": {}}, "none": []}


def test_a_walk_passes_everything_once_with_its_key_and_what_holds_it_first():
    assert [key for key, _ in walk(CONFIG)] == [
        "",
        "seed",
        "model",
        "model.hidden",
        "model.hidden[0]",
        "model.hidden[1]",
        "model.hidden[1].a",
        "model.empty",
        "none",
    ]


def test_a_walk_through_sections_alone_yields_lists_whole():
    assert dict(walk(CONFIG, into=(dict,)))["model.hidden"] == [3, {"a": None}]
    assert "model.hidden[0]" not in dict(walk(CONFIG, into=(dict,)))


def test_leaves_are_values_and_neither_sections_nor_lists():
    assert list(leaves(CONFIG)) == [("seed", 0), ("model.hidden[0]", 3), ("model.hidden[1].a", None)]
    assert list(leaves((1, 2))) == [("[0]", 1), ("[1]", 2)]


def test_every_target_is_found_however_deep_it_lies():
    config = {"a": {"_target_": "x.Y", "_args_": [{"_target_": 3}], "b": [[{"c": {"_target_": "z.Z"}}]]}}
    found = [(key, section["_target_"]) for key, section in built_sections(config)]
    assert found == [("a", "x.Y"), ("a._args_[0]", 3), ("a.b[0][0].c", "z.Z")]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("noisereg.models.two_layer.TwoLayer", "noisereg.models.TwoLayer"),
        ("noisereg.models.TwoLayer", "noisereg.models.TwoLayer"),
        ("torch.optim.sgd.SGD", "torch.optim.SGD"),
        ("mine.Net", "mine.Net"),
    ],
)
def test_two_names_of_one_class_are_the_same_target(name, other):
    assert same_target(name, other)
    assert same_target(other, name)
    assert same_target({"_target_": name, "hidden": 3}, other)


@pytest.mark.parametrize("name", ["mine.SGD", "torch.optim.Adam", "torch.optim.nothing.SGD", "noisereg.models.SGD"])
def test_a_class_of_the_same_last_name_is_another_target(name):
    assert not same_target(name, "torch.optim.SGD")


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("torch.optim.SGD", torch.optim.SGD),
        ("torch.optim.Adam", torch.optim.Adam),
        ("torch.optim.lr_scheduler.StepLR", torch.optim.lr_scheduler.StepLR),
        ("noisereg.losses.Hinge", Hinge),
        ("noisereg.noise.Resample", Resample),
    ],
)
def test_the_defining_name_is_the_one_that_the_class_itself_has(name, cls):
    assert defining_name(name) == f"{cls.__module__}.{cls.__qualname__}"
    assert defining_name(f"{cls.__module__}.{cls.__qualname__}") == f"{cls.__module__}.{cls.__qualname__}"


def test_a_defining_name_is_found_through_other_names_without_an_import(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "unseen_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit\nfrom unseen_package.inner import Net as Model\n")
    (package / "inner.py").write_text("from noisereg.models import TwoLayer as Net\nfrom unseen_package import a\n")
    (package / "a.py").write_text("from unseen_package.b import Round\n")
    (package / "b.py").write_text("from unseen_package.a import Round\n")
    (package / "broken.py").write_text("def")
    assert defining_name("unseen_package.Model") == "noisereg.models.two_layer.TwoLayer"
    assert same_target("unseen_package.Model", "noisereg.models.TwoLayer")
    assert defining_name("unseen_package.a.Round").endswith(".Round")
    assert defining_name("unseen_package.broken.Net") == "unseen_package.broken.Net"
    assert defining_name("__main__.Net") == "__main__.Net"
    assert "unseen_package" not in sys.modules
