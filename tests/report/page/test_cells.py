import json

import pytest
from runs.run_folders import CONFIG, write_run

from noisereg.report.claims.verdicts import judge
from noisereg.report.groups.run_group import group_runs
from noisereg.report.page.cells import claim_cells, count_verdicts, number, run_facts, settings_of
from noisereg.runs.reading import find_runs

CLAIM = {"id": "F1", "says": "It falls.", "metric": "test/error", "paper": 0.21, "factor": 100, "unit": "%"}


def judged(*errors, **claim):
    return judge([CLAIM | claim], replicas=[{"p": 0.2, "seed": s, "test/error": e} for s, e in enumerate(errors)])


def group_of(folder, replicas, **contents):
    write_run(folder, replicas=replicas, **contents)
    (group,) = group_runs(find_runs([folder]))
    return group


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.65432, "0.6543"),
        (-1234.5, "-1,234"),
        (2.5e8, "2.5e+08"),
        (1e-9, "1e-09"),
        (0, "0"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_a_number_has_four_digits(value, written):
    assert number(value) == written


def test_verdicts_are_counted_in_their_order():
    counts = count_verdicts(judged(*[0.21] * 3) + judged(*[0.5] * 3) + judged(0.5) + judged())
    assert list(counts.items()) == [
        ("reproduced", 1),
        ("direction only", 0),
        ("not reproduced", 1),
        ("undecided", 0),
        ("not judged", 1),
        ("not applicable", 1),
    ]


def test_a_claims_cells_have_the_unit_and_the_interval():
    cells = claim_cells(*judged(0.20, 0.22))  # whose interval is 12.706 standard errors of 1 % either side
    assert (cells["paper"], cells["ours"], cells["interval"], cells["n"]) == ("21 %", "21 %", "8.294 to 33.71", "2")
    assert (cells["verdict"], cells["theory"]) == ("undecided", "")


def test_a_claim_says_of_how_many_replicas_its_value_is_if_some_have_none():
    assert claim_cells(*judged(0.20, 0.22, float("nan")))["n"] == "2 of 3"
    assert claim_cells(*judged(float("nan")))["n"] == "0 of 1"


def test_a_claim_without_a_value_has_empty_cells():
    cells = claim_cells(*judged())
    assert (cells["ours"], cells["interval"], cells["n"]) == ("", "", "")


def test_what_is_known_of_a_run_is_said_and_the_rest_left_out(tmp_path):
    bare = group_of(tmp_path / "bare", []).runs[0]
    assert run_facts(bare) == {"folder": str(tmp_path / "bare"), "command": "", "facts": ""}
    environment = {
        "commit": "abc",
        "uncommitted_changes": True,
        "device": "cpu",
        "threads": 2,
        "packages": {"torch": "2.9"},
    }
    run = group_of(tmp_path / "run", [], seconds=1234.56, environment=environment, command="python train.py").runs[0]
    assert run_facts(run)["facts"] == "1,234.6 s; commit abc with uncommitted changes; device cpu; threads 2; torch 2.9"


def test_settings_that_differ_from_the_defaults_are_listed(tmp_path):
    run = group_of(tmp_path, [], config={"experiment": {"id": "F1"}}).runs[0]
    defaults = CONFIG | {"model": CONFIG["model"] | {"hidden": 60}, "unused": 1}
    settings = settings_of(run, defaults)
    assert settings["differing"] == [("model.hidden", "240")]
    assert json.loads(settings["config"]) == CONFIG | {"experiment": {"id": "F1"}}
    assert settings_of(run, None)["differing"] == []
