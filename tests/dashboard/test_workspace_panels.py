import re

import pytest

from noisereg.dashboard import SECTIONS, WorkspacePanel


@pytest.mark.parametrize(
    ("name", "drawn", "left"),
    [
        (
            "train/active_fraction/<layer>",
            ["train/active_fraction/relu1", "train/active_fraction/layer3.2.relu2"],
            ["train/active_fraction", "train/active_fraction/p=0.2", "train/active_fraction/p=0.2/low"],
        ),
        (
            "test/error/p=<p>",
            ["test/error/p=0", "test/error/p=0.25", "test/error/p=1e-05/lr=0.1"],
            ["test/error", "test/error/p=0/low", "test/error/p=0.5/lr=0.1/high", "best/test/error/p=0"],
        ),
    ],
)
def test_a_pattern_draws_layers_or_means_and_nothing_else(name, drawn, left):
    pattern = WorkspacePanel("lines", (name,)).pattern
    assert [text for text in drawn + left if re.search(pattern, text)] == drawn


def test_a_metric_stands_for_itself():
    assert WorkspacePanel("lines", ("test/error", "train/error")).pattern is None


def test_titles_tell_the_panels_of_a_section_apart():
    for section in SECTIONS:
        titles = [panel.title for panel in section.panels]
        assert len(set(titles)) == len(titles)


def test_a_panel_is_called_what_its_metric_is_called_everywhere():
    titles = {panel.y: panel.title for section in SECTIONS for panel in section.panels if panel.kind == "lines"}
    assert titles[("train/error",)] == "Train error, clean labels"
    assert titles[("norm/<layer>",)] == "Weight norm"
    assert titles[("train/loss", "train/clean_loss")] == "Loss on noisy and clean labels"
