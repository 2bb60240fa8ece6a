"""The fence between the rooms of noisereg, read from the source."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import noisereg

PACKAGE = Path(noisereg.__file__).parent
ORDER = (
    "rng",
    "errors",
    "memory",
    "secrets",
    "terminal",
    "parsers",
    "completion",
    "statistics",
    "labels",
    "files",
    "noise",
    "losses",
    "models",
    "metrics",
    "pruning",
    "datasets",
    "engine",
    "theory",
    "callbacks",
    "config",
    "runs",
    "report",
    "dashboard",
    "training",
    "cli",  # what it starts it loads by name
    "__main__",
)
ONLY_IN = {
    "lightning": {"datasets", "callbacks", "engine", "runs", "training"},
    "hydra": {"config", "runs", "training", "__main__"},
    "omegaconf": {"config", "training", "__main__"},
    "wandb": {"runs", "dashboard", "training"},
    "wandb_workspaces": {"dashboard"},
    "numba": {"engine"},
    "timm": {"models"},
    "transformers": {"models"},
}


def test_no_module_breaks_the_fence():
    assert list(breaches(PACKAGE)) == []


def test_every_module_is_read():
    assert {room for room, _ in rooms(PACKAGE)} >= {"rng", "noise", "datasets", "engine", "training", "__main__"}


@pytest.mark.parametrize(
    ("file", "source", "breach"),
    [
        ("noise/flip.py", "from noisereg.losses import Loss", "losses, which comes after noise"),
        ("noise/flip.py", "import noisereg.losses.loss as loss", "losses, which comes after noise"),
        ("losses/loss.py", "from noisereg import metrics, noise", "metrics, which comes after losses"),
        (
            "config/check.py",
            "def run():\n    from noisereg.training.run import run",
            "training, which comes after config",
        ),
        ("report/page.py", "from noisereg.__main__ import main", "__main__, which comes after report"),
        ("noise/flip.py", "from noisereg import Classifier", "Classifier, which is no room"),
        ("utils.py", "", "utils is no room"),
        ("models/mlp.py", "from lightning.pytorch import Trainer", "lightning, which is kept out of models"),
        ("callbacks/monitor.py", "import hydra.utils", "hydra, which is kept out of callbacks"),
        ("runs/record.py", "import json, omegaconf", "omegaconf, which is kept out of runs"),
        ("engine/classifier.py", "try:\n    import wandb\nexcept ImportError:\n    pass", "wandb, which is kept out"),
        ("theory/bounds.py", "from numba import njit", "numba, which is kept out of theory"),
    ],
)
def test_a_breach_is_found(tmp_path, file, source, breach):
    write(tmp_path / file, source)
    (found,) = breaches(tmp_path)
    assert found.startswith(file)
    assert breach in found


def test_what_the_fence_allows_is_no_breach(tmp_path):
    write(tmp_path / "__init__.py", "import typing")
    write(tmp_path / "noise/flip.py", "import torch\nfrom noisereg import rng\nfrom noisereg.noise.rule import Rule")
    write(tmp_path / "engine/fused.py", "import numba\nfrom noisereg.noise import Flip\nimport hydralike")
    write(tmp_path / "training/run.py", "import hydra, lightning, omegaconf, wandb\nfrom noisereg.config import check")
    assert list(breaches(tmp_path)) == []


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("noise", {"lightning", "hydra", "omegaconf", "wandb", "torchvision"}),
        ("rng losses models metrics", {"lightning", "hydra", "omegaconf", "wandb"}),
        ("config.command_line files.lock errors __main__", {"torch", "lightning", "wandb"}),
        ("runs.reading labels statistics", {"torch", "lightning", "wandb"}),
        ("training.run", {"wandb", "altair", "vl_convert"}),  # before the run that uses them
    ],
)
def test_a_module_loads_no_library_that_it_can_do_without(modules, absent):
    imports = "; ".join(f"import noisereg.{module}" for module in modules.split())
    script = f"import sys; {imports}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {f"noisereg.{module}" for module in modules.split()} <= loaded
    assert absent & loaded == set()


def test_the_default_run_loads_nothing_that_it_does_not_use(tmp_path):
    script = """
import sys
from noisereg.__main__ import main
sys.argv = ["train.py", "seeds=2", "trainer.max_epochs=2", "dataset.test_size=20", "logger.wandb=false"]
main()
print(*sorted(sys.modules))
"""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"lightning.pytorch", "torchmetrics", "altair", "noisereg.engine.fused"} <= loaded
    compilers = {"torch._dynamo", "torch._inductor", "sympy", "triton"}
    scipy = {"scipy.signal", "scipy.sparse", "scipy.stats"}
    assert loaded & {*compilers, *scipy, "torchvision", "noisereg.theory", "wandb"} == set()


def breaches(package: Path) -> Iterator[str]:
    """Yield a line on every import that crosses the fence, in the order of the files."""
    for room, file in rooms(package):
        where = file.relative_to(package)
        if room not in ORDER:
            yield f"{where}: {room} is no room; give it a place in ORDER"
            continue
        for line, name in imported(file):
            library, *parts = name.split(".")
            if room not in ONLY_IN.get(library, {room}):
                yield f"{where}:{line} imports {library}, which is kept out of {room}"
            elif library == "noisereg" and parts[:1] not in ([room], ["__version__"]):
                target = parts[0] if parts else "noisereg"
                if target not in ORDER:
                    yield f"{where}:{line} imports {target}, which is no room"
                elif ORDER.index(target) > ORDER.index(room):
                    yield f"{where}:{line} imports {target}, which comes after {room}"


def rooms(package: Path) -> list[tuple[str, Path]]:
    """Pair each module with its room: a file or folder directly inside the package, whose own __init__ is none."""
    files = sorted(package.rglob("*.py"))
    return [
        (file.relative_to(package).parts[0].removesuffix(".py"), file)
        for file in files
        if file != package / "__init__.py"
    ]


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of every import, wherever it stands; relative ones are for ruff to refuse."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def write(file: Path, source: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
