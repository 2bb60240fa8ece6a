"""docs/results.md against what it is about: the list of the paper's statements, and the claims of the experiments."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from noisereg.config.composing import conf_dir

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("results", "networks", "beyond")}
PAGE = PAGES["results"]
PAGE_OF = {"nets": PAGES["networks"], "why": PAGES["beyond"]}  # of experiments, by how their names begin
VERDICTS = {"reproduced", "direction only", "not reproduced", "undecided", "not judged", "not applicable", "not run"}
KINDS = ["numbers of the paper's", "similarities", "directions", "predictions of a theory", "checks of the code"]
KIND_OF = {"paper": KINDS[0], "similar_to": KINDS[1], "predicted": KINDS[3]}  # by the key of a claim; else a direction
IDS = [
    *(f"M{number}" for number in range(1, 8)),
    *(f"D{number}" for number in range(1, 17)),
    *("T1", "T1a", "T1b", "T1c", "C1", "T2a", "T2b", "T2c", "T2d", "T3", "T4.1", "T4.2", "T4.3", "T5"),
    *("F1a", "F1b", "F1c", "F1d", "F1e", "F1f", "F1g", "F2", "F3", "F4a", "F4b", "F4c"),
    *("F5a", "F5b", "F6a", "F6b", "F6c", "F7", "F7b", "F8"),
    *(f"X{number}" for number in range(1, 15)),
    *(f"S{number}" for number in range(1, 12)),
    *(f"A{number}" for number in range(1, 19)),
]


def cells(line):
    """Return the cells of a line of a table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def sections(page=PAGE):
    """Return the parts of a page by their headings."""
    parts = re.split(r"^## (.*)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows_of(text):
    """Return the ids with which rows begin, in order."""
    return re.findall(r"^\| \*\*(.+?)\*\*", text, flags=re.MULTILINE)


def index():
    """Return the rows and the words of each id."""
    lines = [cells(line) for line in sections()["Index"].splitlines() if line.startswith("| ")][1:]
    return {name: (rows.split(", ") if rows else [], words) for name, rows, words in lines}


def test_the_index_has_every_id_once_and_in_order():
    lines = [cells(line)[0] for line in sections()["Index"].splitlines() if line.startswith("| ")][1:]
    assert lines == IDS


def test_each_id_has_rows_or_a_reason():
    rows = set(rows_of(PAGE))
    for name, (own, words) in index().items():
        assert own or words, name
        assert set(own) <= rows, (name, set(own) - rows)


def test_each_row_is_in_the_index():
    assert set(rows_of(PAGE)) == {row for own, _ in index().values() for row in own}


def test_the_index_says_how_many_ids_have_rows():
    having = sum(bool(own) for own, _ in index().values())
    assert f"Of {len(IDS)} ids {having} have rows" in sections()["Index"]


def test_the_tests_that_it_names_exist():
    for path in re.findall(r"`(tests/[\w/.]+)", PAGE):
        assert (Path(__file__).parent.parent / path).exists(), path


@pytest.mark.parametrize("path", sorted((conf_dir() / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_claim_of_an_experiment_has_a_row_in_its_section(path):
    experiment = yaml.safe_load(path.read_text())["experiment"]
    (own,) = (
        text
        for heading, text in sections(PAGE_OF.get(path.stem.partition("_")[0], PAGE)).items()
        if heading not in ("Where ours differs", "Index") and re.search(rf"experiment={path.stem}\b", text)
    )
    ids = [claim["id"] for claim in experiment.get("claims", [])]
    assert rows_of(own)[: len(ids)] == ids
    assert len(rows_of(own)) > len(ids) or "checks" not in experiment
    assert re.findall(r"^\| \*\*(.+?)\*\* \(primary\)", own, flags=re.MULTILINE) == [experiment["primary"]]


def test_every_row_has_a_verdict_and_the_counts_are_those_of_the_rows():
    rows = [cells(line) for text in sections().values() for line in text.splitlines() if line.startswith("| **")]
    assert {row[-1] for row in rows} <= VERDICTS
    judged = [row[-1] for row in rows if "*Check of the code.*" not in row[0]]
    said = " ".join(PAGE.split("\n\n| kind")[0].split())
    assert f"Of {len(judged)} claims and predictions {judged.count('reproduced')} are reproduced" in said
    assert f"{judged.count('direction only')} in direction only, {judged.count('not reproduced')} not" in said
    assert f"Beside them {len(rows) - len(judged)} identities" in said


def kinds():
    """Return the verdicts of the rows by what they claim, as the files of the experiments state it."""
    found = {kind: Counter() for kind in KINDS}
    for text in sections().values():
        stated = {
            claim["id"]: claim
            for path in (conf_dir() / "experiment").glob("*.yaml")
            if re.search(rf"experiment={path.stem}\b", text)
            for claim in yaml.safe_load(path.read_text())["experiment"].get("claims", [])
        }
        from_elsewhere = "experiment=why_" in text or "experiment=nets_" in text  # where they have other ids
        for line in text.splitlines():
            if not line.startswith("| **"):
                continue
            row, (name,) = cells(line), rows_of(line)
            keys = stated.get(name, {"below"} if from_elsewhere else {"predicted"})
            if "*Check of the code.*" in row[0]:
                kind = "checks of the code"
            else:
                kind = next((KIND_OF[key] for key in KIND_OF if key in keys), "directions")
            found[kind][row[-1]] += 1
    return found


def test_the_table_of_kinds_counts_the_rows():
    head, *lines = [cells(line) for line in PAGE.split("\n## ")[0].splitlines() if line.startswith("| ")]
    assert [line[0] for line in lines] == KINDS
    for name, claims, *counts in lines:
        expected = kinds()[name]
        assert int(claims) == expected.total(), name
        assert {verdict: int(n) for verdict, n in zip(head[2:], counts, strict=True) if n} == dict(expected), name


def test_the_claims_that_were_judged_on_two_sets_of_seeds_are_counted_and_the_one_that_differs_is_named():
    tables = [text.split("On other seeds")[1] for text in sections().values() if "On other seeds" in text]
    rows = [cells(line) for table in tables for line in table.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row[0] != "claim"]
    (other,) = [row[0] for row in rows if row[2] != row[6]]
    counts = f"{len(rows)} claims in {len(tables)} sections were judged on both"
    assert f"{counts}: **one verdict differs**, that of {other}." in PAGE


def test_a_row_of_both_sets_of_seeds_has_the_number_and_the_verdict_of_its_section():
    for text in sections().values():
        if "On other seeds" not in text:
            continue
        first, other = text.split("On other seeds")
        own = {rows_of(line)[0]: cells(line) for line in first.splitlines() if line.startswith("| **")}
        for row in (cells(line) for line in other.splitlines() if line.startswith("| ") and "| claim |" not in line):
            assert (row[1], row[2]) == (own[row[0]][3], own[row[0]][6]), row[0]


def test_nothing_is_reproduced_by_fewer_than_three():
    for line in PAGE.splitlines():
        row = cells(line) if line.startswith("| **") else []
        if len(row) == 7 and row[4] and row[6] == "reproduced":
            assert int(row[5].replace(",", "")) >= 3, row[0]
