import json
import re
from html.parser import HTMLParser

import pytest
from report.analysis_material import write_networks
from report.report_material import EVIL, write_material
from runs.run_folders import write_run

from noisereg.report.claims.verdicts import RULE
from noisereg.report.figures.chart_process import DrawingError
from noisereg.report.groups.run_group import group_runs
from noisereg.report.page import html
from noisereg.report.page.html import DrawnFigure, render
from noisereg.runs.reading import find_runs


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    runs = find_runs([write_material(tmp_path_factory.mktemp("runs"))])
    together = group_runs(runs)
    unfinished = [run for run in runs if run.status != "finished"]
    return render(together, [DrawnFigure.of(group) for group in together], unfinished=unfinished, defaults={})


def figures_of(page):
    return [json.loads(text) for text in re.findall(r'<script type="application/json" id="[^"]+">(.*?)</script>', page)]


class Markup(HTMLParser):
    """The elements that a browser makes of a page, and its text outside scripts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.cdata_elem is None:
            self.text.append(data)


def test_the_page_loads_nothing_and_forbids_it(page):
    elements = Markup(page).elements
    places = [attributes.get("href", attributes.get("src")) for _, attributes in elements]
    assert [place for place in places if place and not place.startswith("#")] == []
    (policy,) = (attributes["content"] for tag, attributes in elements if tag == "meta" and "http-equiv" in attributes)
    assert "default-src 'none'" in policy


def test_no_text_of_a_run_becomes_markup(page):
    markup = Markup(page)
    tags = [tag for tag, _ in markup.elements]
    assert "img" not in tags
    assert tags.count("script") == 2 + len(figures_of(page))  # the library, the call, the figures
    assert not any("onerror" in attributes for _, attributes in markup.elements)
    assert " ".join(markup.text).count(EVIL) > 5  # it is there as text


def test_a_figures_texts_survive_as_they_are(page):
    first, _ = figures_of(page)
    assert first["vconcat"][0]["hconcat"][0]["title"] == f"error {EVIL}"
    assert "title" not in first  # it stands above on the page


def test_the_library_is_in_the_page_once_and_the_page_is_small(page):
    assert page.count("window.vegaEmbed = vegaEmbed") <= 1
    assert 500_000 < len(page.encode()) < 1_200_000


def test_counts_rule_claims_and_failures_are_said(page):
    text = " ".join(" ".join(Markup(page).text).split())
    numbers, others = "1 direction only 1 not reproduced", "directions 1 not applicable"
    assert f"numbers of the paper's {numbers} {others} predictions of a theory 1 reproduced" in text
    assert RULE in text
    assert "2 experiments and sweeps, 6 finished runs, 2 others" in text
    assert "Missing: p = 0.2: seeds 1" in text
    assert f"failed ValueError: {EVIL}" in text
    assert "noise.p 0.2" in text  # differs from the defaults


def test_a_network_of_many_layers_has_a_table_of_them_and_its_panels_name_the_classes(tmp_path):
    panels = [{"title": "reliability", "kind": "reliability"}, {"title": "test", "kind": "plane"}]
    together = group_runs(find_runs([write_networks(tmp_path, figure=panels)]))
    page = render(together, [DrawnFigure.of(group) for group in together])
    text = " ".join(" ".join(Markup(page).text).split())
    assert "Active units of each layer, test (one seed)" in text
    assert "layer2.0.relu2 50 25 -25" in text
    (figure,) = figures_of(page)
    _, planes = figure["vconcat"]
    assert [panel["title"] for panel in planes["hconcat"]] == [
        "test, none: tightness 0.25",
        "test, smoothing: tightness 0.125",
    ]
    assert "airplane" in json.dumps(figure["datasets"])


def test_the_page_says_in_a_line_how_many_replicas_diverged_and_counts_them_in_means(tmp_path):
    rows = [{"p": 0.2, "seed": seed, "test/error": 0.25, "ended_by": "budget"} for seed in range(2)]
    rows += [{"p": 0.2, "seed": seed, "ended_by": "non-finite weights"} for seed in range(2, 8)]
    write_run(tmp_path, replicas=rows)
    groups = group_runs(find_runs([tmp_path]))
    text = " ".join(" ".join(Markup(render(groups, [DrawnFigure.of(group) for group in groups])).text).split())
    assert "1 finished run 6 of 8 replicas diverged: they have no values at the end" in text
    assert "test error (%) 0.2 25 25 to 25 2 of 8" in text


def test_a_claim_about_what_a_run_lacks_does_not_stop_the_page(tmp_path):
    claim = {"id": "F7.1", "metric": "selected/test/error", "of": {"arm": "none"}, "paper": 0.08}
    together = group_runs(find_runs([write_networks(tmp_path, claims=[claim])]))
    text = " ".join(" ".join(Markup(render(together, [DrawnFigure.of(group) for group in together])).text).split())
    assert "not applicable no replica has the column selected/test/error" in text


def test_a_figure_that_cannot_be_drawn_is_a_sentence(tmp_path):
    figure = [{"title": "loss", "metrics": {"test/loss": "loss"}}]
    write_run(tmp_path, replicas=[{"p": 0.0, "seed": 0}], experiment={"id": "F1", "figure": figure})
    together = group_runs(find_runs([tmp_path]))
    drawn = [DrawnFigure.of(group) for group in together]
    assert drawn[0].fault == "No figure: panel 'loss' needs metrics.csv, which no run wrote (logger=csv writes it)"
    page = render(together, drawn)
    assert "panel &#39;loss&#39; needs metrics.csv" in page
    assert "vegaEmbed =" not in page  # without figures, no library


def test_histograms_of_no_replica_are_a_sentence_too(tmp_path):
    figure = [{"title": "neurons", "kind": "histograms"}]
    write_run(tmp_path, replicas=[], experiment={"id": "F6", "figure": figure})
    (group,) = group_runs(find_runs([tmp_path]))
    assert DrawnFigure.of(group).fault == "No figure: panel 'neurons' shows replicas, and there is none"


@pytest.mark.parametrize(
    "figure", [["x"], [{"title": "a", "metrics": {"b": 1}}], {"title": 1}, [{"title": "a", "lines": 3}]]
)
def test_a_foreign_figure_does_not_stop_the_page(tmp_path, figure):
    write_run(tmp_path, replicas=[{"p": 0.0, "seed": 0}], experiment={"id": "F1", "figure": figure})
    (group,) = group_runs(find_runs([tmp_path]))
    assert DrawnFigure.of(group).fault.startswith("No figure: ")


def test_a_check_is_drawn_where_no_figure_is_asked_for(tmp_path):
    curve = {"x_title": "h", "y_title": "norm", "x": [1, 2], "measured": [1, 2], "predicted": [1, 2]}
    write_run(tmp_path, replicas=[], checks=[{"id": "T2", "curve": curve}, {"id": "T3", "curve": None}])
    (group,) = group_runs(find_runs([tmp_path]))
    (row,) = DrawnFigure.of(group).specification["vconcat"]
    assert [panel["title"] for panel in row["hconcat"]] == ["T2"]


def test_a_page_without_the_script_of_its_figures_says_why(tmp_path, monkeypatch):
    def die():
        raise DrawingError("the chart library ended its process (signal 5)")

    monkeypatch.setattr(html, "vega_script", die)
    write_run(tmp_path, replicas=[{"p": p, "seed": 0, "test/error": 0.25} for p in (0.0, 0.2)])
    groups = group_runs(find_runs([tmp_path]))
    text = render(groups, [DrawnFigure.of(group) for group in groups])
    assert "No figure: the chart library ended its process (signal 5)" in text
    assert "data-specification" not in text
    assert "means" in text
