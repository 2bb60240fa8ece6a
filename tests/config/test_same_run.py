from pathlib import Path

import pytest

from noisereg.config.same_run import (
    check_recorded_data,
    describe_changes,
    differing,
    identity,
    recorded_fingerprint,
    refuse_other_data,
)
from noisereg.errors import ConfigError

OLD = {"train_images": 40, "classes": {"ant": 24, "bee": 24}, "bytes": 400, "contents": "ab"}
FOLDER = Path("run")


def test_the_keys_that_differ_are_named_but_for_those_without_effect():
    old = {"seed": 0, "noise": {"p": 0.1, "moves": {9: 1}}, "dataset": {"root": "a", "d": 60}, "logger": {"csv": True}}
    new = {"seed": 0, "noise": {"p": 0.2, "moves": {9: 1}}, "dataset": {"root": "b", "d": 60, "workers": 2}}
    assert differing(old, new) == ({"noise.p": 0.1}, {"noise.p": 0.2})
    assert differing(old, old) == ({}, {})


def test_what_cannot_change_a_result_is_no_part_of_a_runs_identity():
    config = {"seed": 0, "threads": 1, "dataset": {"d": 3, "root": "a", "workers": 0}, "logger": {"csv": True}}
    same = {**config, "dataset": {"d": 3, "root": "b", "workers": 4}, "logger": {}, "trust": ["mine"], "arm": "x"}
    assert differing(config, same) == ({}, {})
    assert identity(config) == identity(same)


def test_the_number_of_threads_decides_the_last_bits_and_so_is_part_of_an_identity():
    assert differing({"threads": 1}, {"threads": 2}) == ({"threads": 1}, {"threads": 2})
    assert identity({"threads": 1}) != identity({"threads": 2})


def test_a_key_that_begins_like_one_without_effect_has_an_effect():
    assert differing({"armour": 1, "dataset": {"roots": 1}}, {}) == ({"armour": 1, "dataset.roots": 1}, {})


def test_a_list_differs_as_one_value():
    old = {"noise": {"p": [0, 0.1]}}
    assert differing(old, {"noise": {"p": (0, 0.2)}}) == ({"noise.p": [0, 0.1]}, {"noise.p": [0, 0.2]})
    assert differing(old, {"noise": {"p": (0, 0.1)}}) == ({}, {})


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (OLD, ""),
        ({**OLD, "train_images": 49}, "train_images was 40 and is 49"),
        ({**OLD, "classes": {"ant": 24, "cat": 24}}, "classes.bee is gone, classes.cat is new"),
        ({**OLD, "contents": "cd"}, "contents was ab and is cd"),
        (
            {"name": "MNIST"},
            "train_images is gone, classes is gone, bytes is gone, contents is gone and 1 more",
        ),
        ({**OLD, "classes": 101}, "classes was 2 values and is 101"),
    ],
    ids=["the same", "more images", "another class", "other pixels", "another kind", "many classes"],
)
def test_it_is_said_in_what_data_differ(new, words):
    assert describe_changes(OLD, new).startswith(words) and bool(describe_changes(OLD, new)) == bool(words)


def test_other_data_are_refused_in_one_line_and_unknown_ones_are_not():
    refuse_other_data({}, OLD, folder=FOLDER)
    refuse_other_data(OLD, OLD, folder=FOLDER)
    line = r"^x=run holds a run on other data \(bytes was 400 and is 401\); name another folder, or give the same data "
    with pytest.raises(ConfigError, match=line):
        refuse_other_data(OLD, {**OLD, "bytes": 401}, folder=FOLDER, key="x")


def test_the_data_of_each_arm_are_compared_with_those_in_the_record():
    found = {"fingerprint": {"noise": OLD, "smoothing": {"name": "MNIST"}}}
    arms = {"noise": {"data": OLD}, "smoothing": {"data": {"name": "MNIST"}}, "third": {"data": {"name": "new"}}}
    assert recorded_fingerprint(found, "smoothing") == {"name": "MNIST"}
    assert check_recorded_data(found, arms, lambda settings: settings["data"], folder=FOLDER) == ""
    arms["smoothing"] = {"data": {"name": "Fashion-MNIST"}}
    with pytest.raises(ConfigError, match=r"\(name was MNIST and is Fashion-MNIST\)"):
        check_recorded_data(found, arms, lambda settings: settings["data"], folder=FOLDER)


def test_data_are_not_looked_at_where_the_record_has_no_fingerprint():
    def refuse(settings):
        raise AssertionError("it is not asked for")

    assert check_recorded_data({"status": "finished"}, {"": {}}, refuse, folder=FOLDER) == ""


def test_data_that_cannot_be_read_are_not_compared_and_those_of_other_arms_are():
    def read(settings):
        if not settings:
            raise ConfigError("data cannot be read")
        return settings

    found = {"fingerprint": {"gone": OLD, "there": OLD}}
    assert check_recorded_data(found, {"gone": {}, "there": OLD}, read, folder=FOLDER) == "data cannot be read"
    with pytest.raises(ConfigError, match="bytes was 400 and is 1"):
        check_recorded_data(found, {"gone": {}, "there": {**OLD, "bytes": 1}}, read, folder=FOLDER)
