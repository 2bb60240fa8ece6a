import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import resnet
from benchmarks.rows import Row

ROOT = Path(__file__).parents[2]


def printed(table):
    """The lines of a table on a narrow terminal."""
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    return console.file.getvalue().splitlines()


def test_the_program_prints_and_writes_every_row_for_its_number_of_threads(tmp_path, monkeypatch, capfd):
    for name, value in {"PYTHONPATH": str(ROOT), "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}.items():
        monkeypatch.setenv(name, value)  # a CPU without bfloat16
    path, quick = tmp_path / "numbers.json", ["--rounds", "1", "--steps", "2", "--batch-size", "4", "--samples", "4"]
    resnet.main([*quick, "--threads", "1", "--json", str(path)])
    text, progress = capfd.readouterr()
    (found,) = json.loads(path.read_text())["threads"]
    names = ["plain loop", "ours", "ours, float32", "evaluation", "evaluation, counted"]
    assert [row["row"] for row in found["rows"]] == names and found["threads"] == 1
    assert all(text.count(f"\n{name}  ") for name in (*names, "epoch, ours"))
    assert "random bytes, batch size 4" in text and "every 5 epochs" in text
    assert "precision 32-true: a convolution in bfloat16 has" in text and ">= 1.2 " in text
    assert [line.split(":")[1].split(",", 1)[1].strip() for line in progress.splitlines()] == 2 * names
    seconds = {row["row"]: row["seconds"][0] for row in found["rows"]}
    ratios = {row["row"]: row["ratio"][0] for row in found["rows"] if "ratio" in row}
    assert ratios == {name: pytest.approx(seconds["plain loop"] / seconds[name]) for name in names[1:3]}


def test_monitoring_costs_what_counting_and_the_training_images_add_to_the_test_pass():
    rows = {resnet.OURS: 4e-3, resnet.EVALUATION: 1e-3, resnet.COUNTED: 1.25e-3}
    found = resnet.monitoring([{"row": name, "seconds": [value]} for name, value in rows.items()], every_n_epochs=5)
    assert [line["seconds"] for line in found] == [[pytest.approx(20)], [pytest.approx(25)], [pytest.approx(200)]]
    assert found[2]["share"] == [pytest.approx((25 - 10) / (5 * 200))]


def test_the_goal_of_monitoring_is_met_by_the_median_share():
    lines = [{"row": "epoch, ours", "seconds": [1.0] * 3, "share": shares} for shares in ([0.1, 0.01, 0.02], [0.04])]
    met, missed = printed(resnet.monitoring_table(lines))[2:]
    assert met.split()[4:] == ["2.00", "(1.00-10.0)", "<=", "3", "met"]
    assert missed.split()[4:] == ["4.00", "(4.00-4.00)", "<=", "3", "missed"]


def test_images_a_second_are_set_beside_the_ratio_and_the_goal():
    rows = {resnet.PLAIN: Row(float), resnet.COMPILED: Row(float, resnet.PLAIN, 2.5)}
    seconds = {resnet.PLAIN: [8e-3, 1e-2, 9e-3], resnet.COMPILED: [2e-3, 5e-3, 3e-3]}
    plain, compiled = printed(resnet.speed_table(resnet.results(rows, seconds)))[2:]
    assert plain.split("  ")[0] == "plain loop" and plain.split()[2:] == ["111", "(100-125)"]
    assert compiled.split()[2:] == ["333", "(200-500)", "3.00", "(2.00-4.00)", ">=", "2.5", "met"]


def test_the_tables_and_the_legend_fit_a_narrow_terminal_on_a_slow_machine():
    row = {
        "row": resnet.COMPILED,
        "seconds": [1e-4, 9e-5],
        "ratio": [11.5, 12.5],
        "goal": 2.5,
        "sign": ">=",
        "met": False,
    }
    line = {"row": f"epoch, {resnet.COMPILED}", "seconds": [9999.0, 9998.0], "share": [0.99, 0.98]}
    text = [*printed(resnet.speed_table([row])), *printed(resnet.monitoring_table([line])), *resnet.LEGEND.splitlines()]
    assert max(map(len, text)) <= 80 and "…" not in "".join(text)
    assert len(printed(resnet.speed_table([row]))) == len(printed(resnet.monitoring_table([line]))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "0"], "--rounds: it must be at least 1, got 0"),
        (["--threads", "1", "0"], "--threads: it must be at least 1, got 0"),
        (["--workers", "-1"], "--workers must be at least 0"),
        (["--samples", "10001"], r"--samples in [1, 10000]"),
        (["--batch-size", "1000", "--steps", "48"], "--steps must be at most 47"),
    ],
)
def test_a_number_out_of_range_is_refused(options, message, capsys):
    with pytest.raises(SystemExit):
        resnet.main(options)
    assert message in capsys.readouterr().err
