"""The lock of what the tests run with: it allows what pyproject.toml asks for, and leads to no other source."""

import re
from pathlib import Path

import pytest
from constraints import direct_requirements, installed_versions
from packaging.utils import canonicalize_name

LINES = (Path(__file__).parent / "constraints.txt").read_text().splitlines()
PINS = dict(line.split("==") for line in LINES)


def test_each_line_is_one_name_and_one_public_version_in_order():
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in LINES)
    assert sorted(PINS) == list(PINS) and len(PINS) == len(LINES)


@pytest.mark.parametrize("requirement", direct_requirements(), ids=lambda requirement: requirement.name)
def test_what_is_asked_for_is_pinned_to_a_version_that_it_allows(requirement):
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)], prereleases=True)


def test_what_is_needed_is_found_through_all_that_needs_it():
    found = installed_versions()
    assert {"torch", "lightning", "lightning-utilities", "antlr4-python3-runtime", "markupsafe"} <= found.keys()
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in found.values())
