"""The rooms of the report, in the order in which they may import one another."""

import ast
from pathlib import Path

from noisereg import report

FOLDER = Path(report.__file__).parent
ORDER = ("claims", "groups", "figures", "page", "export", "plot", "tradeoff", "__main__")


def test_no_room_of_the_report_imports_a_later_one():
    found = [(file.relative_to(FOLDER), room) for file in FOLDER.rglob("*.py") for room in imported(file)]
    assert len(found) > 40
    late = [(str(file), room) for file, room in found if ORDER.index(room) > place(file)]
    assert late == []


def place(file: Path) -> int:
    """Return the place of a module's room; what stands beside the rooms comes after figures."""
    room = file.parts[0].removesuffix(".py")
    return ORDER.index("figures" if room == "__init__" else room)


def imported(file: Path) -> list[str]:
    """Return the rooms of the report that a module imports."""
    names = [node.module or "" for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    return [name.split(".")[2] for name in names if name.startswith("noisereg.report.")]
