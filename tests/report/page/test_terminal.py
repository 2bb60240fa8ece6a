import io

from rich.console import Console
from runs.run_folders import write_run

from noisereg.report.claims.verdicts import judge
from noisereg.report.groups.run_group import group_runs
from noisereg.report.page.terminal import judgement_table, overview_table
from noisereg.runs.reading import find_runs

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
    assert first.split()[-7:] == ["[b]half[/b].", "0.5", "0.5", "±", "1.3", "2", "reproduced"]
    assert second.split()[-6:] == ["0.5", "±", "1.3", "2", "not", "reproduced"]
    assert third.split()[-2:] == ["not", "applicable"]


def test_verdicts_are_counted_for_each_group(tmp_path):
    write_run(tmp_path, replicas=REPLICAS, experiment={"id": "F1", "title": "[red]Figure 1", "claims": CLAIMS})
    (line,) = (
        line for line in printed(overview_table(group_runs(find_runs([tmp_path])))).splitlines() if "Figure" in line
    )
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["[red]Figure 1", "1", "1", "", "1", "1"]
