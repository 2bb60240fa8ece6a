import pytest
from runs.run_folders import CONFIG, write_run

from noisereg.report.groups.comparison import Comparison
from noisereg.report.groups.reading import read_groups
from noisereg.report.page.comparison_table import compare_groups, difference_cells, print_results
from noisereg.report.page.html import render
from noisereg.runs.reading import find_runs
from noisereg.terminal import open_console


@pytest.fixture
def runs(tmp_path):
    """Runs of two widths and two p, of three seeds; an error falls by 0.1 for p and by 0.1 for the wider net."""
    for hidden in (8, 16):
        for p in (0.0, 0.2):
            config = {"model": CONFIG["model"] | {"hidden": hidden}, "noise": CONFIG["noise"] | {"p": p}}
            rows = [{"p": p, "seed": s, "test/error": 0.6 - p / 2 - hidden / 80 + s / 100} for s in range(3)]
            write_run(tmp_path / f"{hidden},{p}", config=config, replicas=rows)
    return find_runs([tmp_path])


def test_a_sweep_is_one_table_with_the_differences_below_each_row(runs, capsys):
    print_results(runs, open_console())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = [line for line in lines if line and (line[0] in ("8", "16", "less"))]
    assert rows == [
        ["8", "0", "3", "51.00±2.48"],
        ["8", "0.2", "3", "41.00±2.48"],
        ["less", "0", "3", "pairs", "-10.00±0.00"],
        ["16", "0", "3", "41.00±2.48"],
        ["less", "8", "3", "pairs", "-10.00±0.00"],
        ["16", "0.2", "3", "31.00±2.48"],
        ["less", "8", "3", "pairs", "-10.00±0.00"],
        ["less", "0", "3", "pairs", "-10.00±0.00"],
    ]


def test_runs_that_cannot_be_read_are_left_out_of_the_end_of_a_sweep(runs, tmp_path, capsys):
    write_run(tmp_path / "broken", replicas=[{"p": 0.2, "seed": 0, "test/error": "low"}])
    print_results(find_runs([tmp_path]), open_console())
    assert "51.00±2.48" in capsys.readouterr().out


def test_the_page_has_both_tables_above_the_groups(runs):
    groups, _ = read_groups(runs)
    compared = compare_groups(groups)
    page = render([], [], compared=compared)
    assert "Side by side, by what differs" in page and "Paired differences, over the seeds that both have" in page
    assert '<td class=number data-label="less the same with">noise.p = 0</td>' in page
    assert len(difference_cells(compared)["rows"]) == 4


def test_one_group_is_compared_in_the_files_alone(runs):
    (group, _), _ = read_groups(runs)
    compared = compare_groups([group])
    assert compared.keys == ["noise.p"] and not compared.has_several_settings
    assert "Side by side" not in render([], [], compared=compared)


def test_groups_that_differ_in_nothing_that_is_known_are_not_compared(runs):
    (group, _), _ = read_groups(runs)
    assert compare_groups([group, group]) is None
    assert Comparison([group, group]).has_doubles
