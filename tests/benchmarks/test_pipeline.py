import io

import pytest
import torch
from rich.console import Console

from benchmarks import pipeline


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_the_program_times_every_part_on_random_images(capsys):
    pipeline.main(["--steps", "2", "--threads", "1"])
    text = capsys.readouterr().out
    assert "random bytes, batch size 128" in text
    assert all(name in text for name in ("training step", "batch of 128", "labels, drawn", "labels, expected"))
    assert text.count("met") + text.count("missed") == 3


def test_the_table_holds_medians_extremes_and_shares_of_the_step():
    rows = pipeline.table(
        {"training step": [0.1, 0.3, 0.2], "batch of 128": [0.005, 0.007, 0.001], "labels, drawn": [0.004]}
    )
    cells = [list(column.cells) for column in rows.columns]
    assert cells[1:4] == [["200", "5.000", "4.000"], ["100.000", "1.000", "4.000"], ["300", "7.000", "4.000"]]
    assert cells[4:] == [["", "2.50%", "2.00%"], ["", "< 3%", "< 1%"], ["", "met", "missed"]]


def test_the_table_fits_a_narrow_terminal_on_a_slow_machine():
    times = {"training step": [99.0], **{name: [0.099] for name in pipeline.GOALS}}
    console = Console(width=80, file=io.StringIO())
    console.print(pipeline.table(times))
    assert "99,000" in console.file.getvalue() and "…" not in console.file.getvalue()


def test_random_images_are_of_the_number_shape_and_spread_of_bytes():
    data = pipeline.RandomImages()
    data.setup()
    train = data.splits["train"]
    assert train.inputs.shape == (50_000, 3, 32, 32) and train.inputs.dtype == torch.uint8
    values = train.inputs[:256].double()
    assert abs(values.mean() - 127.5) < 5 * (256**2 / 12 / values.numel()) ** 0.5
    assert values.min() == 0 and values.max() == 255


@pytest.mark.parametrize("option", ["--steps", "--threads"])
def test_a_number_below_one_is_refused(option, capsys):
    with pytest.raises(SystemExit):
        pipeline.main([option, "0"])
    assert "must be at least 1" in capsys.readouterr().err
