import re

import pandas as pd
import pytest
from PIL import Image

from noisereg.report import run_figures, save

P_ZERO = (0x44, 0x01, 0x54)  # the dark end of viridis


@pytest.fixture
def frame():
    """Curves of two p and two seeds."""
    rows = [(p, seed, epoch) for p in (0.0, 0.2) for seed in (0, 1) for epoch in (0, 1, 2)]
    table = pd.DataFrame(rows, columns=["p", "seed", "epoch"])
    return table.assign(step=10 * table["epoch"], **{"test/error": table["epoch"] / 4 + table["seed"] / 8 + table["p"]})


def test_a_title_cannot_end_the_script_it_stands_in(tmp_path, frame):
    save(run_figures([], frame, title="</script><b>")["curves"], tmp_path / "curves")
    page = (tmp_path / "curves.html").read_text()
    assert "</script><b>" not in page
    assert r"\u003c/script\u003e\u003cb\u003e" in page


def test_the_page_loads_nothing_from_the_network(tmp_path, frame):
    save(run_figures([], frame)["curves"], tmp_path / "p=0.1")
    page = (tmp_path / "p=0.1.html").read_text()
    assert "vegaEmbed(" in page
    assert re.findall(r"(?:src|href)=.?(?:https?:)?//|@import|cdn\.", page) == []


def test_the_image_has_the_colours_of_the_curves(tmp_path, frame):
    save(run_figures([], frame)["curves"], tmp_path / "curves")
    colours = Image.open(tmp_path / "curves.png").convert("RGB").getcolors(2**24)
    assert max(number for number, colour in colours if colour == P_ZERO) > 1000
