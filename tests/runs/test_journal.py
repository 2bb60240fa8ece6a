import pytest
from small_disk import fill_disk, small_disk

from noisereg.errors import DiskError
from noisereg.runs.journal import COPIES, Journal, Mark


def test_what_was_written_beyond_a_mark_is_cut_off_by_the_next_write(tmp_path):
    killed = Journal(tmp_path)
    killed.append(["1", "2"])
    mark = killed.mark()
    killed.append(["3", "4"])
    resumed = Journal(tmp_path)
    assert resumed.read(mark) == ["1", "2"]
    resumed.append(["5"])
    for name in COPIES:
        assert (tmp_path / name).read_text() == "1\n2\n5\n"
    assert Journal(tmp_path).read(resumed.mark()) == ["1", "2", "5"]
    assert Journal(tmp_path).read(mark) == ["1", "2"]  # of the checkpoint before it


def test_a_journal_begins_anew_where_a_run_does(tmp_path):
    Journal(tmp_path).append(["of a run whose checkpoints are lost"])
    Journal(tmp_path).append(["1"])
    assert (tmp_path / COPIES[0]).read_text() == "1\n"


@pytest.mark.parametrize("damaged", COPIES)
@pytest.mark.parametrize("damage", [b"", b"1\n", b"1\n2\n4\n", None])
def test_one_whole_copy_is_enough_and_the_other_is_made_anew(damaged, damage, tmp_path):
    journal = Journal(tmp_path)
    journal.append(["1", "2", "3"])
    (tmp_path / damaged).unlink()
    if damage is not None:
        (tmp_path / damaged).write_bytes(damage)
    assert Journal(tmp_path).read(journal.mark()) == ["1", "2", "3"]
    resumed = Journal(tmp_path)
    assert resumed.read(journal.mark(), mend=True) == ["1", "2", "3"]
    resumed.append(["4"])
    assert [(tmp_path / name).read_text() for name in COPIES] == ["1\n2\n3\n4\n"] * 2


def test_a_journal_without_a_whole_copy_is_refused(tmp_path):
    journal = Journal(tmp_path)
    journal.append(["1", "2"])
    for name in COPIES:
        (tmp_path / name).write_text("1\n3\n")
    with pytest.raises(ValueError, match=r"^neither curves-1.jsonl nor curves-2.jsonl beside it has its curves$"):
        Journal(tmp_path).read(journal.mark())


def test_a_checkpoint_before_the_first_complete_evaluation_needs_no_file(tmp_path):
    mark = Journal(tmp_path).mark()
    assert mark.size == 0
    assert Journal(tmp_path).read(mark) == []


def test_what_holds_all_rows_itself_has_no_mark():
    assert Mark.of({"step": [1]}) is Mark.of(None) is Mark.of({"lines": []}) is None


def test_a_full_disk_is_told_and_what_was_not_written_can_be_written_later(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        journal = Journal(disk / "checkpoints")
        journal.append(["1"])
        fill_disk(disk, leave=100_000)
        with pytest.raises(DiskError, match=r"^disk full: "):
            journal.append(["x" * 300_000])
        assert Journal(disk / "checkpoints").read(journal.mark()) == ["1"]
        (disk / "filler").unlink()
        journal.append(["2"])
        assert Journal(disk / "checkpoints").read(journal.mark()) == ["1", "2"]
