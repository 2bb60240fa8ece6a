import io

import pytest
from rich.console import Console
from runs.run_folders import write_run

from noisereg.report.claims.verdicts import judge
from noisereg.report.groups.run_group import group_runs
from noisereg.report.page.terminal import (
    judgement_table,
    kinds_table,
    means_table,
    overview_table,
    print_table,
)
from noisereg.runs.reading import find_runs
from noisereg.runs.summary import table_of_lines

CLAIMS = [
    {"id": "F1", "says": "It is [b]half[/b].", "metric": "test/error", "paper": 0.5},
    {"id": "F2", "says": "It is low.", "metric": "test/error", "below": 0.1},
    {"id": "F3", "says": "It is new.", "metric": "nothing", "below": 0.1},
]
REPLICAS = [{"p": 0.0, "seed": seed, "test/error": 0.4 + seed / 5} for seed in (0, 1)]  # 0.5, with a t of 12.71


def printed(table):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_paper_stands_beside_ours_and_the_verdict():
    lines = printed(judgement_table(judge(CLAIMS, replicas=REPLICAS))).splitlines()
    first, second, third = (next(line for line in lines if f"F{number}" in line) for number in (1, 2, 3))
    assert first.split("  ")[0].strip() == "F1 It is [b]half[/b]."
    assert first.split()[-7:] == ["[b]half[/b].", "0.5", "0.5", "±", "1.3", "2", "undecided"]
    assert second.split()[-5:] == ["0.5", "±", "1.3", "2", "undecided"]
    assert third.split()[-2:] == ["not", "applicable"]


def test_a_claim_that_is_not_judged_says_why_and_of_how_many_replicas():
    failed = [{"p": 0.0, "seed": seed, "ended_by": "non-finite weights"} for seed in range(2, 8)]
    first = next(
        line
        for line in printed(judgement_table(judge(CLAIMS, replicas=[*REPLICAS, *failed]))).splitlines()
        if "F1" in line
    )
    assert " ".join(first.split()[-10:]) == "0.5 2 of 8 not judged: 6 of 8 diverged"


def test_verdicts_are_counted_for_each_group(tmp_path):
    write_run(tmp_path, replicas=REPLICAS, experiment={"id": "F1", "title": "[red]Figure 1", "claims": CLAIMS})
    (line,) = (
        line for line in printed(overview_table(group_runs(find_runs([tmp_path])))).splitlines() if "Figure" in line
    )
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells == ["[red]Figure 1", "1", "2 undecided, 1 not applicable"]


def test_the_primary_claim_is_marked_and_what_a_correction_changes_is_said(tmp_path):
    replicas = [{"p": 0.0, "seed": seed, "a": 1 + seed / 10, "b": b} for seed, b in enumerate((1.0, 1.6, 2.6))]
    claims = [{"id": "A", "metric": "a", "above": 0.8}, {"id": "B", "metric": "b", "above": 0}]  # p = 0.035 and 0.065
    write_run(tmp_path, replicas=replicas, experiment={"id": "X", "title": "X", "claims": claims, "primary": "B"})
    groups = group_runs(find_runs([tmp_path]))
    overview = " ".join(printed(overview_table(groups)).split())
    assert "under Holm's correction within each experiment 1 of 1 directions change: A" in overview
    lines = printed(judgement_table(groups[0].judgements)).splitlines()
    assert [line.split()[:2] for line in lines if "(primary)" in line] == [["B", "(primary)"]]


CODE = {"measured": 0.5, "predicted": 0.5, "n": 7, "identity": True}


def test_what_holds_by_construction_is_counted_apart_and_nothing_twice(tmp_path):
    claims = [*CLAIMS, {"id": "F4", "metric": "test/error", "predicted": 5}]
    checks = [CODE | {"id": "S1", "holds": True}, CODE | {"id": "S2", "holds": False}, {"id": "T1", "holds": True}]
    write_run(tmp_path, replicas=REPLICAS, experiment={"id": "F1", "title": "Figure", "claims": claims}, checks=checks)
    groups = group_runs(find_runs([tmp_path]))
    assert printed(judgement_table(groups[0].judgements)).count("(a check of the code)") == 2
    overview, kinds = printed(overview_table(groups)), printed(kinds_table(groups))
    assert "1 reproduced, 1 not reproduced, 2 undecided, 1 not applicable; 1 of 2 checks of the code hold" in overview
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in kinds.splitlines() if line.startswith("│")]
    assert rows == [
        ["numbers of the paper's", "1", "1 undecided"],
        ["directions", "2", "1 undecided, 1 not applicable"],
        ["predictions of a theory", "2", "1 reproduced, 1 not reproduced"],
        ["checks of the code (identities)", "2", "1 reproduced, 1 not reproduced"],
    ]


def test_a_check_of_the_code_that_is_undecided_is_not_told_as_one_that_fails(tmp_path):
    claims = [{"id": "D2", "metric": "test/error", "predicted": 0.5, "identity": True}]
    write_run(tmp_path, replicas=REPLICAS, experiment={"id": "F1", "title": "Figure", "claims": claims})
    overview = printed(overview_table(group_runs(find_runs([tmp_path]))))
    assert "0 of 1 checks of the code hold, 1 undecided" in overview


def test_the_overview_says_in_a_line_how_many_replicas_diverged(tmp_path):
    for number in range(2):
        rows = [{"p": 0.0, "seed": seed, "ended_by": "non-finite loss"} for seed in range(number, 3)]
        others = [{"p": 0.1, "seed": 0, "test/error": 0.1, "ended_by": "budget"}]
        write_run(tmp_path / str(number), config={"new": number}, replicas=[*rows, *others])
    groups = group_runs(find_runs([tmp_path]))
    assert "5 of 7 replicas diverged" in printed(overview_table(groups))
    assert "diverged" not in printed(overview_table([]))


def rows_of(table):
    return [line.split() for line in printed(table).splitlines() if line.strip()]


def test_the_means_of_a_group_stand_above_their_paired_differences(tmp_path):
    errors = {0.0: (0.40, 0.42, 0.44), 0.2: (0.20, 0.23, 0.23)}
    rows = [{"p": p, "seed": seed, "test/error": error} for p, own in errors.items() for seed, error in enumerate(own)]
    rows[-1] |= {"train/error": 0.5}
    write_run(tmp_path, replicas=rows)
    title, *_, none, noisy, difference = rows_of(means_table(group_runs(find_runs([tmp_path]))[0]))
    assert " ".join(title) == "TwoLayer on Hypercube under Resample"
    assert none == ["0", "3", "42.00±4.97"]  # 4.303 of a t distribution times 2 / sqrt(3)
    assert noisy == ["0.2", "3", "22.00±4.30", "50.00", "(n", "1)"]
    assert difference == ["less", "p", "=", "0", "3", "-20.00±2.48"]


def test_the_means_of_a_group_say_how_many_replicas_diverged(tmp_path):
    rows = [{"p": 0.2, "seed": seed, "ended_by": "non-finite weights"} for seed in range(6)]
    rows += [{"p": 0.2, "seed": seed, "test/error": 0.5, "ended_by": "budget"} for seed in (6, 7)]
    write_run(tmp_path, replicas=rows)
    assert rows_of(means_table(group_runs(find_runs([tmp_path]))[0]))[-1] == [
        "0.2",
        "2",
        "of",
        "8,",
        "6",
        "diverged",
        "50.00±0.00",
    ]


def test_the_means_of_several_layers_fit_into_80_columns(tmp_path):
    fractions = ("test/active_fraction", "train/active_fraction", "test/dead_fraction", "test/active_fraction/relu1")
    names = ("test/error", "train/error", *fractions, "noise/measured_rate")
    rows = [{"p": p, "seed": seed, **dict.fromkeys(names, p + seed / 9)} for p in (0.0, 0.2) for seed in range(3)]
    write_run(tmp_path, replicas=rows)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(means_table(group_runs(find_runs([tmp_path]))[0]))
    *_, noisy, last, _ = console.export_text().splitlines()
    assert noisy.split() == ["0.2", "3", *["31.11±27.60"] * 2, *["31.1±27.6"] * 3, "31.11±27.60"]
    assert last.split() == ["less", "p", "=", "0", "3", *["20.00±0.00"] * 2, *["20.0±0.0"] * 3, "20.00±0.00"]


@pytest.mark.parametrize(("is_terminal", "width"), [(True, 80), (True, 40), (True, 20), (True, 140), (False, 80)])
def test_a_terminal_has_the_metrics_for_which_there_is_room_and_a_file_has_all(is_terminal, width):
    settings, metrics = (
        ("model.width", "callbacks.sparsity.every_n_epochs"),
        [f"error {place} (%)" for place in range(9)],
    )
    numbers = [f"{place}0.00±1.00" for place in range(1, 10)]
    lines = [["8", "2", "3", *numbers], ["less 4", "", "3 pairs", *numbers]]
    console = Console(width=width, force_terminal=is_terminal, color_system=None, file=io.StringIO())
    print_table(table_of_lines(lines, [*settings, "n", *metrics], settings=2), console)
    *rows, _, last = console.file.getvalue().splitlines()
    row = next(line.split() for line in rows if line.split()[:1] == ["8"])
    shown = [number for number in numbers if number in row]
    assert shown == numbers[: len(shown)] and shown
    assert (shown == numbers) == (last.strip() == "") == (not is_terminal or width == 140)
    if shown != numbers:
        assert last == f"no room for {'; '.join(metrics[len(shown) :])}"
    if is_terminal and len(shown) > 1:
        assert max(map(len, rows)) <= width


def test_the_means_of_a_network_with_one_layer_fit_into_80_columns(tmp_path):
    names = ("test/error", "train/error", "test/active_neurons", "train/active_neurons", "noise/measured_rate")
    rows = [{"p": p, "seed": seed, **dict.fromkeys(names, p + seed / 9)} for p in (0.0, 0.2) for seed in range(3)]
    write_run(tmp_path, replicas=rows)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(means_table(group_runs(find_runs([tmp_path]))[0]))
    last = console.export_text().splitlines()[-2]
    assert last.split() == ["less", "p", "=", "0", "3", *["20.00±0.00"] * 2, *["0.2±0.0"] * 2, "20.00±0.00"]
