"""The report's page in a real browser, where there is one."""

import re
import shutil
from contextlib import contextmanager

import pandas as pd
import pytest
from playwright.sync_api import sync_playwright
from report.report_material import write_material

from noisereg.report.__main__ import main
from noisereg.report.page.cells import number

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome on the path")
DRAWN = "document.querySelectorAll('.chart').length === document.querySelectorAll('.chart[data-drawn]').length"
LINES = "#F1 .chart path[aria-roledescription='line mark']"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_material(tmp_path_factory.mktemp("runs"))
    assert main([str(folder)]) == 0
    return folder


@contextmanager
def opened(folder, *, width=1280, scheme="light"):
    """Open the page, and collect what the browser complains of and what it asks the network for."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        heard = []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: heard.extend([request.url] * (not re.match("file:|data:", request.url))))
        page.goto((folder / "report.html").as_uri())
        page.wait_for_function(DRAWN)
        yield page, heard
        browser.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_all_figures_are_drawn_without_a_complaint_or_a_request_and_fit_the_screen(folder, width, scheme):
    with opened(folder, width=width, scheme=scheme) as (page, heard):
        assert page.locator(".chart svg.marks").count() == 2
        assert heard == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert "owned" not in page.title()
        assert page.locator("img").count() == 0


def test_every_panel_stands_within_the_window_and_again_after_it_was_turned(folder):
    charts = "[...document.querySelectorAll('.chart')]"
    with opened(folder, width=390) as (page, heard):
        heights = []
        for width in (390, 1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_timeout(1500)
            assert page.evaluate(f"{charts}.every(chart => chart.scrollWidth <= chart.clientWidth)")
            heights.append(page.evaluate(f"{charts}[0].clientHeight"))
        narrow, wide, again = heights
        assert narrow == again > wide  # the panels of a row stand below one another
        assert heard == []


def test_a_click_in_the_legend_leaves_one_line_alone(folder):
    with opened(folder) as (page, heard):
        assert page.locator(LINES).count() == 3  # p = 0, p = 0.2, and what the theorem predicts
        page.locator("#F1 .chart .role-legend-label text", has_text="0.2").first.click()
        page.wait_for_function(f'document.querySelectorAll("{LINES}").length === 2')
        assert heard == []


def test_the_tables_hold_the_numbers_of_claims_csv(folder):
    rows = pd.read_csv(folder / "claims.csv", keep_default_na=False, na_values=[""])
    with opened(folder) as (page, _):
        for row in rows.to_dict("records"):
            cells = page.locator(f"#F1 tr[data-id='{row['claim']}'] td").all_inner_texts()
            unit = "" if pd.isna(row["unit"]) else f" {row['unit']}"
            written = [number(row[key]) + unit if number(row[key]) else "" for key in ("paper", "theory", "ours")]
            assert cells[1:4] == written
            assert cells[4] == (f"{number(row['low'])} to {number(row['high'])}" if number(row["low"]) else "")
            assert cells[6] == row["verdict"]
