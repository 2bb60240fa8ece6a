"""Format, lint and types, so that pytest is the one command for all checks."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("checker", ["ruff format --check", "ruff check", "mypy"])
def test_a_checker_has_no_complaint(checker):
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", *checker.split()], cwd=root, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
