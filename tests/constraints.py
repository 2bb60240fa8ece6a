"""Print the versions of all that `pip install '.[test]'` has brought into this environment, one a line.

python tests/constraints.py > tests/constraints.txt                      after an upgrade that passes the tests
pip install -e '.[test]' --constraint tests/constraints.txt              the same versions again
pip-audit --no-deps --disable-pip --requirement tests/constraints.txt    what is known against them
"""

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def direct_requirements() -> list[Requirement]:
    """Return what pyproject.toml asks for, with the extra `test` and the extras that it names."""
    project = tomllib.loads(_PROJECT.read_text())["project"]
    extras = {name: [Requirement(line) for line in lines] for name, lines in project["optional-dependencies"].items()}
    of_tests = extras["test"]
    named = [
        extra for requirement in of_tests if requirement.name == "noisereg" for extra in sorted(requirement.extras)
    ]
    found = [*map(Requirement, project["dependencies"]), *of_tests, *(line for name in named for line in extras[name])]
    return [requirement for requirement in found if requirement.name != "noisereg"]


def installed_versions() -> dict[str, str]:
    """Return the public version of each package that is needed here, directly or by another one, by its name."""
    versions: dict[str, str] = {}
    waiting = [(requirement, frozenset(requirement.extras)) for requirement in direct_requirements()]
    seen = set()
    while waiting:
        requirement, extras = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            package = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        versions[name] = Version(package.version).public
        for line in package.requires or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((needed, frozenset(needed.extras)))
    return dict(sorted(versions.items()))


if __name__ == "__main__":
    for name, version in installed_versions().items():
        print(f"{name}=={version}")
