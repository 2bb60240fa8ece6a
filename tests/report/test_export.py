import json
import re

import pandas as pd
import pytest
from runs.run_folders import CONFIG, write_run

from noisereg.report.__main__ import main as report
from noisereg.report.export import main


@pytest.fixture
def runs(tmp_path):
    """The folder of a run of two values of p and three seeds, with curves."""
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    cells = [(p, seed) for p in (0.0, 0.2) for seed in range(3)]
    rows = [{"p": p, "seed": seed, "test/error": 0.4 - p + seed / 100} for p, seed in cells]
    config = {"model": {"_target_": "noisereg.models.MLP"}, "noise": {"_target_": "noisereg.noise.Flip", "p": [0, 0.2]}}
    record = {"status": "finished", "config": config, "replicas": rows, "data": "50 %_of #1 & more"}
    (folder / "result.json").write_text(json.dumps(record))
    curves = [
        {"step": epoch, "epoch": epoch, **row, "test/error": 0.5 - epoch / 20} for row in rows for epoch in (0, 1, 2)
    ]
    pd.DataFrame(curves).to_csv(folder / "metrics.csv", index=False)
    return tmp_path / "runs"


def export(runs, *more):
    out = runs.parent / "out"
    assert main([str(runs), "--out", str(out), *more]) == 0
    return {str(path.relative_to(out)): path for path in sorted(out.rglob("*.*"))}


def page_of(pdf):
    return [float(number) for number in re.search(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf).groups()]


def test_a_run_is_exported_in_every_format(runs):
    found = export(runs)
    assert [*found] == [
        "differences.csv",
        "differences.tex",
        "sweep-figure.tex",
        "sweep.csv",
        "sweep.pdf",
        "sweep.png",
        "sweep.svg",
        "sweep.tex",
    ]


def test_the_export_is_a_command_of_the_report_too(runs):
    out = runs.parent / "out"
    assert report(["export", str(runs), "--out", str(out), "--format", "csv"]) == 0
    assert {path.name for path in out.iterdir()} == {"differences.csv", "sweep.csv"}


def test_no_row_of_latex_begins_with_what_would_be_the_space_above_it(tmp_path):
    for hidden in ([8], [8, 16]):
        rows = [{"p": 0.2, "seed": seed, "test/error": 0.01 * seed} for seed in range(3)]
        config = {"model": CONFIG["model"] | {"hidden": hidden}}
        write_run(tmp_path / "runs" / str(len(hidden)), config=config, replicas=rows)
    found = export(tmp_path / "runs", "--format", "tex")
    text = found["comparison.tex"].read_text()
    assert "\n{[}8, 16{]} &" in text and "\n[" not in text
    assert "1.00 [0, 3.48] \\\\" in text and "or [its ends] where it is cut" in text


def test_a_heading_of_latex_has_lines_as_short_as_its_numbers_and_is_escaped_once(tmp_path):
    for size in (20, 40):
        rows = [{"p": 0.2, "seed": seed, "train/error": 0.3} for seed in range(3)]
        config = {"dataset": CONFIG["dataset"] | {"train_size": size}}
        write_run(tmp_path / "runs" / str(size), config=config, replicas=rows)
    text = export(tmp_path / "runs", "--format", "tex")["comparison.tex"].read_text()
    (heading,) = (line for line in text.splitlines() if "clean" in line)
    assert heading == r"dataset.train\_size & \shortstack[r]{train error, \\ clean labels \\ (\%)} \\"


@pytest.mark.parametrize(("width", "inches"), [("page", 6.75), ("column", 3.25), ("5", 5.0)])
def test_a_figure_has_the_width_that_was_asked_for_and_letters_of_8_points(width, inches, runs):
    found = export(runs, "--format", "pdf,svg", "--width", width)
    pdf, svg = found["sweep.pdf"].read_bytes(), found["sweep.svg"].read_text()
    assert page_of(pdf)[0] == pytest.approx(72 * inches, abs=0.1)
    assert b"/FontFile2" in pdf
    head = svg.partition(">")[0]
    assert float(re.search(r'width="([\d.]+)in"', head)[1]) == pytest.approx(inches, abs=0.01)
    dots = float(re.search(r'viewBox="0 0 ([\d.]+) ', head)[1])
    letters = {float(size) * 72 * inches / dots for size in re.findall(r'font-size="([\d.]+)px"', svg)}
    assert letters and all(size == pytest.approx(8, rel=0.15) for size in letters)


def test_each_panel_is_a_figure_of_its_own(runs):
    found = export(runs, "--format", "pdf,tex", "--each")
    panels = [name for name in found if name.startswith("sweep/")]
    assert panels == ["sweep/01-test-error.pdf", "sweep/02-test-error.pdf"]
    assert all(page_of(found[name].read_bytes())[0] == pytest.approx(234, abs=0.1) for name in panels)
    text = found["sweep-figure.tex"].read_text()
    assert text.count("\\includegraphics[width=3.25in]{sweep/0") == text.count("\\begin{figure}") == 2
    assert text.count("\\label{fig:sweep/02-test-error}") == 1


def test_a_figure_that_is_taller_than_a_page_is_in_parts_that_are_not(runs):
    path = runs / "a" / "metrics.csv"
    curves = pd.read_csv(path)
    norms = {f"norm/layer{layer}": curves["test/error"] + layer for layer in range(4)}
    curves.assign(**norms, **{"train/error": curves["test/error"]}).to_csv(path, index=False)
    found = export(runs, "--format", "pdf,tex", "--width", "column")
    parts = [name for name in found if name.endswith(".pdf")]
    assert parts == ["sweep/part-1.pdf", "sweep/part-2.pdf", "sweep/part-3.pdf"]
    sizes = [page_of(found[name].read_bytes()) for name in parts]
    assert all(width == pytest.approx(234, abs=0.1) and height <= 9 * 72 for width, height in sizes)
    text = found["sweep-figure.tex"].read_text()
    assert re.findall(r"{(sweep/part-\d)\.pdf}", text) == [name.removesuffix(".pdf") for name in parts]
    assert re.findall(r"Part (\d) of 3\.}", text) == ["1", "2", "3"]


def test_the_caption_says_what_the_bands_are_and_of_how_many(runs):
    text = export(runs, "--format", "pdf,tex")["sweep-figure.tex"].read_text()
    assert ". Band or bar: 95 \\% t interval of the mean over 3 seeds" in text


def test_a_table_of_latex_has_the_means_the_half_intervals_and_n(runs):
    """Student's t for two degrees of freedom is 4.302653; the deviation of 0, 1, 2 is 1."""
    text = export(runs, "--format", "tex")["sweep.tex"].read_text()
    assert "n = 3." in text
    half = 4.302653 / 3**0.5
    assert f"0 & 41.00 $\\pm$ {half:.2f} \\\\\n0.2 & 21.00 $\\pm$ {half:.2f} \\\\\n" in text
    assert "\\toprule" in text and "\\bottomrule" in text


def test_a_text_of_a_users_is_no_command_of_latex(runs):
    assert "MLP on 50 \\%\\_of \\#1 \\& more under Flip" in export(runs, "--format", "tex")["sweep.tex"].read_text()


def test_the_name_of_an_arm_is_no_command_of_latex(tmp_path):
    arms = ("l1_0.1", "50 %")
    rows = [{"arm": arm, "p": 0.0, "seed": seed, "test/error": 0.1} for arm in arms for seed in range(3)]
    write_run(tmp_path / "runs", replicas=rows)
    text = export(tmp_path / "runs", "--format", "tex")["sweep.tex"].read_text()
    assert "\n50 \\% & 0 & 10.00" in text and "\nl1\\_0.1 & 0 & 10.00" in text


def test_a_mean_of_latex_over_fewer_replicas_than_the_others_says_so(tmp_path):
    rows = [{"p": 0.2, "seed": seed, "test/error": 0.1, "train/error": 0.2} for seed in range(3)]
    del rows[0]["train/error"]
    write_run(tmp_path / "runs", replicas=rows)
    text = export(tmp_path / "runs", "--format", "tex")["sweep.tex"].read_text()
    assert "0.2 & 10.00 $\\pm$ 0.00 & 20.00 $\\pm$ 0.00 (n 2) \\\\" in text and "n = 3." in text


def test_claims_are_a_table_of_their_own(runs):
    path = runs / "a" / "result.json"
    claim = {"id": "F1", "says": "It falls.", "metric": "test/error", "of": {"p": 0.2}, "below": 0.5}
    path.write_text(json.dumps({**json.loads(path.read_text()), "experiment": {"id": "mine", "claims": [claim]}}))
    found = export(runs, "--format", "csv,tex")
    assert [*found] == ["mine-claims.csv", "mine-claims.tex", "mine.csv", "mine.tex"]
    assert "F1 & It falls. &" in found["mine-claims.tex"].read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--format", "pdf,eps"], "--format must be some of pdf,svg,png,csv,tex, got 'eps'"),
        (["--font", "No Such"], "--font=No Such: this machine has no such font"),
        (["--width", "wide"], "--width must be column, page or a number of inches, got wide"),
        (["--width", "0.1"], r"--width must be in \[1, 40\] inches, got 0.1"),
    ],
)
def test_bad_options_end_in_one_line(more, message, runs, capsys):
    assert main([str(runs), "--out", str(runs.parent / "out"), *more]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (runs.parent / "out").exists()


def test_a_group_that_allows_no_figure_is_a_line_and_the_others_are_exported(runs, capsys):
    """Its title would be markup to rich, and it has no metric that is drawn."""
    title = "[/old] [red"
    write_run(runs / "b", config={"model": {"_target_": title}}, replicas=[{"p": 0.2, "seed": 0, "test/loss": 1.0}])
    found = export(runs, "--format", "svg,csv")
    assert {"sweep.svg", "sweep.csv", "sweep-2.csv"} <= found.keys() and "sweep-2.svg" not in found
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("no "))
    assert re.fullmatch(rf"no figure of {re.escape(title)} on .*: a figure needs at least one panel, got none.*", line)


def test_runs_of_which_nothing_can_be_exported_are_refused_in_a_line(tmp_path, capsys):
    write_run(tmp_path / "runs", replicas=[{"p": 0.2, "seed": 0, "test/loss": 1.0}])
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--format", "pdf"]) == 2
    assert re.fullmatch(r"error: no figure of .*: a figure needs at least one panel.*\n", capsys.readouterr().err)


def test_a_run_that_is_not_finished_is_left_out_by_name(runs, capsys):
    (runs / "b").mkdir()
    (runs / "b" / "result.json").write_text('{"status": "failed", "reason": "no memory"}')
    export(runs, "--format", "csv")
    assert re.search(r"left out, failed: .*/b no memory", capsys.readouterr().out)


def test_curves_that_cannot_be_read_are_a_line(runs, capsys):
    (runs / "a" / "metrics.csv").write_text("step,epoch,p,seed,test/error\n0,0,0,0,low\n")
    export(runs, "--format", "svg,csv")
    assert re.search(r"no curves of a run: .*metrics.csv cannot be read", capsys.readouterr().out)


def test_runs_side_by_side_are_a_table_with_their_paired_differences(tmp_path):
    """The change of each seed is 0.1, so that the interval of the difference has no length."""
    for hidden in (8, 16):
        model = {"model": CONFIG["model"] | {"hidden": hidden}}
        rows = [{"p": 0.2, "seed": seed, "test/error": 0.4 - hidden / 80 + seed / 100} for seed in range(3)]
        write_run(tmp_path / "runs" / str(hidden), config=model, replicas=rows)
    found = export(tmp_path / "runs", "--format", "csv,tex")
    means = pd.read_csv(found["comparison.csv"])
    assert means[["model.hidden", "metric", "unit", "n"]].values.tolist() == [
        [8, "test/error", "%", 3],
        [16, "test/error", "%", 3],
    ]
    assert means["mean"].tolist() == pytest.approx([31, 21])
    (row,) = pd.read_csv(found["differences.csv"]).to_dict("records")
    assert (row["key"], row["than"], row["pairs"]) == ("model.hidden", 8, 3)
    assert [row[name] for name in ("difference", "difference_low", "difference_high")] == pytest.approx([-10] * 3)
    half = 4.302653 / 3**0.5
    assert f"16 & 21.00 $\\pm$ {half:.2f} \\\\" in found["comparison.tex"].read_text()
    text = found["differences.tex"].read_text()
    assert "16 & model.hidden = 8 & $-$10.00 $\\pm$ 0.00 \\\\" in text and "over 3 pairs each" in text


def test_a_row_that_is_over_fewer_replicas_than_others_says_so(tmp_path):
    for hidden, seeds in ((8, range(3)), (16, range(1, 3)), (24, range(3))):
        model = {"model": CONFIG["model"] | {"hidden": hidden}}
        rows = [{"p": 0.2, "seed": seed, "test/error": hidden / 100} for seed in seeds]
        write_run(tmp_path / "runs" / str(hidden), config=model, replicas=rows)
    found = export(tmp_path / "runs", "--format", "tex")
    means, changes = (found[f"{name}.tex"].read_text() for name in ("comparison", "differences"))
    assert "model.hidden & replicas & test error" in means and "16 & 2 & 16.00" in means and "24 & 3 & 24.00" in means
    assert "16 & model.hidden = 8 & 2 & 8.00" in changes and "24 & model.hidden = 8 & 3 & 16.00" in changes
