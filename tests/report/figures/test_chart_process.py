import os
import signal

import pytest
import vl_convert

from noisereg.report.figures.chart_process import USUAL, ChartProcess, DrawingError

POINT = {"mark": "point", "data": {"values": [{}]}}


@pytest.fixture
def charts():
    process = ChartProcess()
    yield process
    process.close()


def test_a_process_that_died_is_a_line_and_the_next_figure_is_drawn(charts, monkeypatch):
    assert charts.ask("svg", POINT).startswith(b"<svg")
    os.kill(charts._process.pid, signal.SIGABRT)
    with pytest.raises(DrawingError, match=r"the chart library ended its process \(signal 6\)"):
        charts.ask("svg", POINT)
    with pytest.raises(DrawingError, match="Vega-Lite to SVG conversion failed"):
        charts.ask("svg", POINT | {"data": 7, "mark": {"type": "nothing"}})
    assert charts.ask("svg", POINT).startswith(b"<svg")


def test_a_figure_that_takes_too_long_is_given_up():
    charts = ChartProcess(longest=0.01)
    with pytest.raises(DrawingError, match="signal 9"):
        charts.ask("svg", POINT)
    charts.close()


def test_a_process_that_was_started_before_draws_the_same(charts):
    charts.start()
    process = charts._process
    assert charts.ask("svg", POINT).startswith(b"<svg")
    charts.start()
    assert charts._process is process


def test_what_the_library_is_warmed_by_is_a_figure_with_all_kinds_of_marks(charts):
    svg = charts.ask("svg", USUAL).decode()
    for kind in ("area", "line", "symbol", "rule"):
        assert f'class="mark-{kind} ' in svg


def test_an_image_of_dots_is_that_of_the_specification(charts):
    svg = charts.ask("svg", POINT)
    assert charts.ask("png", svg.decode()) == vl_convert.vegalite_to_png(POINT, scale=2)
