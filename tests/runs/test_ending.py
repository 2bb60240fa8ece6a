import json

import pytest

from noisereg.errors import DiskError
from noisereg.runs.ending import recorded_failure
from noisereg.runs.record import RunRecord


@pytest.fixture(autouse=True)
def _single_run(monkeypatch):
    monkeypatch.setattr("noisereg.runs.ending.is_job_of_sweep", lambda: False)


class FullDisk(RunRecord):
    """A record of which so many bytes can be written."""

    room = 0

    def write(self, status, **contents):
        if len(json.dumps(contents)) > self.room:
            raise DiskError("disk full")
        super().write(status, **contents)


def test_of_a_run_that_fails_on_a_full_disk_the_smallest_record_is_written(tmp_path, capsys):
    record = FullDisk(tmp_path, {"seed": 0})
    record.room = 100
    with pytest.raises(DiskError, match="of the run"), recorded_failure(record, replicas=[0] * 100, command="x y"):
        raise DiskError("of the run")
    found = json.loads(record.path.read_text())
    assert (found["status"], found["reason"], found["command"]) == ("failed", "DiskError: of the run", "x y")
    assert "replicas" not in found and capsys.readouterr().err == ""


def test_what_cannot_be_written_at_all_is_printed_and_hides_no_reason(tmp_path, capsys):
    with pytest.raises(DiskError, match="of the run"), recorded_failure(FullDisk(tmp_path, {"seed": 0})):
        raise DiskError("of the run")
    assert capsys.readouterr().err == f"{tmp_path}/result.json does not say that the run failed: disk full\n"
