from collections.abc import Sequence
from typing import Literal, TypedDict, Unpack

import pytest
import torch

from noisereg.config.arguments import check_arguments, qualify
from noisereg.errors import ConfigError


class Base:
    def __init__(self, width: int, *, layers: Sequence[str] | None = None, kind: Literal["a", "b"] = "a", free=None):
        pass


class More(TypedDict):
    depth: int


class Unpacked:
    def __init__(self, **more: Unpack[More]):
        pass


class Open:
    def __init__(self, size: int = 1, **more: int):
        pass


def unknown(milestones: "Nowhere[int]"):
    pass


@pytest.mark.parametrize(
    "section",
    [
        {"width": 3},
        {"width": 3, "layers": None, "kind": "b", "free": object()},
        {"width": 3, "layers": ["relu"], "_target_": "mine.Base", "_partial_": False},
        {"width": {"_target_": "mine.Width"}},
    ],
)
def test_values_of_the_types_that_a_class_names_are_accepted(section):
    check_arguments("model", section, Base)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"width": "wide"}, "model.width='wide': Base takes int"),
        ({"width": [3, 4]}, r"model.width=\[3, 4\]: Base takes int"),
        ({"width": None}, "model.width=None: Base takes int"),
        ({"layers": 3}, r"model.layers=3: Base takes Sequence\[str\] \| None"),
        ({"layers": "relu"}, r"model.layers='relu': Base takes Sequence\[str\] \| None"),
        ({"layers": [3]}, r"model.layers=\[3\]: Base takes"),
        ({"kind": "c"}, r"model.kind='c': Base takes Literal\['a', 'b'\]"),
        ({"wdth": 3}, r"model.wdth=3: Base has no such argument; did you mean width\?"),
    ],
)
def test_what_a_class_does_not_take_is_refused_by_its_key(section, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        check_arguments("model", section, Base)


def test_an_argument_that_the_run_gives_is_refused():
    with pytest.raises(ConfigError, match=r"^model.width=3: the run itself gives width; leave it out$"):
        check_arguments("model", {"width": 3}, Base, given=["width"])


def test_unpacked_arguments_are_known_by_name_and_type():
    check_arguments("model", {"depth": 3}, Unpacked)
    with pytest.raises(ConfigError, match=r"^model.depth='x': Unpacked takes int$"):
        check_arguments("model", {"depth": "x"}, Unpacked)
    with pytest.raises(ConfigError, match=r"^model.dept=3: Unpacked has no such argument; did you mean depth\?$"):
        check_arguments("model", {"dept": 3}, Unpacked)


def test_a_class_that_takes_any_name_is_given_any_name():
    check_arguments("model", {"anything": "x"}, Open)
    with pytest.raises(ConfigError, match=r"^model.size='x': Open takes int$"):
        check_arguments("model", {"size": "x"}, Open)


def test_a_type_that_cannot_be_known_refuses_nothing():
    check_arguments("scheduler", {"milestones": [1, 2]}, unknown)
    check_arguments("scheduler", {"milestones": [1, 2]}, torch.optim.lr_scheduler.MultiStepLR)


class Data:
    def __init__(self, train_size: int, order: str = "shuffle", *, root: str = "data", seed: int = 0):
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train_size must be at most 3, got 4", "dataset.train_size must be at most 3, got 4"),
        ("dataset.train_size must be at most 3, got 4", "dataset.train_size must be at most 3, got 4"),
        ("order must keep the order, got x", "dataset.order must keep the order, got x"),
        ("must be below train_size=3, from which it is", "must be below dataset.train_size=3, from which it is"),
        ("must be below dataset.train_size=3", "must be below dataset.train_size=3"),
        ("x is not there; name a folder with root=PATH", "x is not there; name a folder with dataset.root=PATH"),
        (
            "x is not there; name a folder with dataset.root=PATH",
            "x is not there; name a folder with dataset.root=PATH",
        ),
        ("change batch_size, train_size, or the order", "change batch_size, dataset.train_size, or the order"),
        ("the root of data/train_size/order=3 and (order=3)", "the root of data/train_size/order=3 and (order=3)"),
        ("seed must be at least 0", "seed must be at least 0"),
    ],
)
def test_the_arguments_that_an_error_names_become_keys(text, expected):
    assert qualify(text, "dataset", Data, given=["seed"]) == expected


def test_a_class_that_does_not_take_what_the_run_gives_is_refused_with_what_to_write():
    line = (
        r"^model: Base must take input_shape, width, which the run gives, and lacks input_shape: "
        r"write def __init__\(self, input_shape, width, \.\.\.\)$"
    )
    with pytest.raises(ConfigError, match=line):
        check_arguments("model", {}, Base, given=["input_shape", "width"])
    check_arguments("model", {}, Open, given=["input_shape"])
