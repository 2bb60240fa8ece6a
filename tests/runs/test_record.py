import json

import pytest

from noisereg.errors import ConfigError
from noisereg.runs.record import RunRecord

CONFIG = {"seed": 0, "noise": {"p": 0.1, "moves": {9: 1}}, "logger": {"wandb": True}}


def test_the_status_of_a_folder_is_that_of_its_last_record(tmp_path):
    assert RunRecord(tmp_path, CONFIG).status == "new"
    for status in ("running", "failed", "finished"):
        RunRecord(tmp_path, CONFIG).write(status, steps=7)
        assert RunRecord(tmp_path, CONFIG).status == status
    assert json.loads((tmp_path / "result.json").read_text())["steps"] == 7


def test_another_configuration_is_refused_with_the_keys_that_differ(tmp_path):
    RunRecord(tmp_path, CONFIG).write("running")
    other = {**CONFIG, "noise": {"p": 0.2, "moves": {9: 1}}, "extra": 1}
    with pytest.raises(ConfigError, match=r"holds a run of another configuration \(extra, noise.p differ\)"):
        RunRecord(tmp_path, other)


def test_where_the_curves_go_does_not_make_another_run(tmp_path):
    RunRecord(tmp_path, CONFIG).write("running")
    assert RunRecord(tmp_path, {**CONFIG, "logger": {"wandb": False}}).status == "running"


def test_a_record_that_cannot_be_read_is_refused_by_its_name(tmp_path):
    (tmp_path / "result.json").write_text('{"status": "fin')
    with pytest.raises(ConfigError, match=r"result.json cannot be read .*delete it, or name another folder"):
        RunRecord(tmp_path, CONFIG)
