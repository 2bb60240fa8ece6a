import io

from rich.console import Console

from noisereg.runs.progress import summary


def test_the_summary_sets_the_first_and_the_last_value_side_by_side():
    rows = [{"test/error": 0.5, "test/active_neurons": 120.0}, {"train/loss": 2.0}, {"test/error": 0.125}]
    console = Console(file=io.StringIO(), width=100)
    console.print(summary(rows))
    lines = console.file.getvalue().splitlines()
    (error,) = [line for line in lines if "test error" in line]
    assert "50.00 %" in error
    assert "12.50 %" in error
    assert any("active neurons, test" in line and line.count("120.0") == 2 for line in lines)
    assert not any("train error" in line for line in lines)
