"""Run `train.py` in a process of its own that has its libraries loaded already: a second in place of seven."""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # what the server of the processes starts with
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["noisereg.experiment"])


def run_program(
    *arguments: str, cwd: Path, timeout: float = 300, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run `python train.py` with arguments in a folder.

    Args:
        arguments: of the command line.
        cwd: working directory.
        timeout: in seconds.
        environment: variables beside those of this process; those of W&B are left out.

    Returns:
        The exit code and what was printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        printed = [Path(folder) / name for name in ("stdout", "stderr")]
        known = {"NETRC": str(cwd / "no_keys"), **environment}
        process = _SERVER.Process(target=_main, args=(arguments, str(cwd), known, *map(str, printed)))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"train.py {' '.join(arguments)} did not end in {timeout} s")
        texts = [path.read_text() for path in printed]
    return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


def read_result(folder: Path) -> dict[str, Any]:
    """Read what a run came to."""
    return json.loads((folder / "result.json").read_text())


def _main(arguments: tuple[str, ...], cwd: str, environment: dict[str, str], stdout: str, stderr: str) -> None:
    os.chdir(cwd)
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = [str(ROOT / "train.py"), *arguments]
    from noisereg.__main__ import main  # noqa: PLC0415 - the server is to load it

    main()
