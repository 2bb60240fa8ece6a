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
    with pytest.raises(ConfigError, match=r"another configuration \(noise.p was 0.1 and is 0.2, extra is new\)"):
        RunRecord(tmp_path, other)


def test_where_the_curves_go_does_not_make_another_run(tmp_path):
    RunRecord(tmp_path, CONFIG).write("running")
    assert RunRecord(tmp_path, {**CONFIG, "logger": {"wandb": False}}).status == "running"


def test_a_record_that_cannot_be_read_is_refused_by_its_name(tmp_path):
    (tmp_path / "result.json").write_text('{"status": "fin')
    with pytest.raises(ConfigError, match=r"result.json cannot be read .*delete it, or name another folder"):
        RunRecord(tmp_path, CONFIG)


@pytest.mark.parametrize("damage", [b"", b"step,epoch\n", b"step,epoch,p\n0,0,0.3\n"])
@pytest.mark.parametrize("name", ["metrics.csv", "fires.npz", "noisy/analysis.npz"])
def test_a_finished_run_of_which_a_file_changed_is_damaged(name, damage, tmp_path):
    config = {**CONFIG, "experiment": {"arms": {"clean": [], "noisy": []}}}
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"step,epoch,p\n0,0,0.2\n")
    RunRecord(tmp_path, config).write("finished")
    assert RunRecord(tmp_path, config).status == "finished"
    assert RunRecord(tmp_path, config).found["digests"].keys() == {name}
    path.write_bytes(damage)
    damaged = RunRecord(tmp_path, config)
    assert (damaged.status, damaged.found["damaged"]) == ("damaged", [name])
    path.unlink()
    assert RunRecord(tmp_path, config).status == "finished"  # who takes a file away knows that it is gone
    path.mkdir()
    assert RunRecord(tmp_path, config).status == "damaged"


def test_only_a_finished_run_has_digests_as_the_files_of_another_still_change(tmp_path):
    (tmp_path / "metrics.csv").write_text("step\n")
    RunRecord(tmp_path, CONFIG).write("running")
    (tmp_path / "metrics.csv").write_text("step\n0\n")
    found = RunRecord(tmp_path, CONFIG)
    assert (found.status, "digests" in found.found) == ("running", False)


DATA = {"train_images": 40, "contents": "ab"}


def test_a_record_keeps_the_data_of_a_run_and_refuses_others(tmp_path):
    record = RunRecord(tmp_path, CONFIG)
    record.keep_data(DATA)
    record.write("running")
    assert json.loads((tmp_path / "result.json").read_text())["fingerprint"] == DATA
    again = RunRecord(tmp_path, CONFIG)
    again.keep_data(DATA)
    with pytest.raises(ConfigError, match=r"holds a run on other data \(train_images was 40 and is 49\)"):
        again.keep_data({**DATA, "train_images": 49})
    again.write("finished")
    assert RunRecord(tmp_path, CONFIG).found["fingerprint"] == DATA


def test_the_record_of_an_experiment_keeps_the_data_of_each_arm(tmp_path):
    record = RunRecord(tmp_path, CONFIG)
    record.keep_data(DATA, arms=["noise", "smoothing"])
    record.keep_data({"name": "MNIST"}, arms=["digits"])
    with pytest.raises(ConfigError, match=r"contents was ab and is cd"):
        record.keep_data({**DATA, "contents": "cd"}, arms=["smoothing"])
    record.write("running")
    found = json.loads((tmp_path / "result.json").read_text())["fingerprint"]
    assert found == {"noise": DATA, "smoothing": DATA, "digits": {"name": "MNIST"}}


def test_a_record_of_an_older_version_goes_with_any_data(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps({"status": "stopped", "config": CONFIG}))
    record = RunRecord(tmp_path, CONFIG)
    record.keep_data(DATA)
    record.write("running")
    assert RunRecord(tmp_path, CONFIG).found["fingerprint"] == DATA


def test_a_record_whose_fingerprint_is_none_is_refused(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps({"status": "stopped", "config": CONFIG, "fingerprint": "ab"}))
    with pytest.raises(ConfigError, match=r"result.json cannot be read \(its fingerprint is 'ab'\)"):
        RunRecord(tmp_path, CONFIG)
