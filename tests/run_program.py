"""Run `train.py` in a process of its own that has its libraries loaded already: a second in place of seven."""

import gc
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
_LIBRARIES = ["noisereg.training.run", "wandb.sdk.launch.inputs.internal"]  # the latter is what wandb.init loads
_SERVER.set_forkserver_preload(_LIBRARIES)


class Program:
    """`python train.py` with arguments in a folder, as it runs.

    Args:
        arguments: of the command line.
        cwd: working directory.
        environment: variables beside those of this process; those of W&B are left out.

    Attributes:
        process: that runs it.
    """

    def __init__(self, *arguments: str, cwd: Path, **environment: str) -> None:
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory()
        self._printed = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        known = {"NETRC": str(cwd / "no_keys"), **environment}
        self.process = _SERVER.Process(target=_main, args=(arguments, str(cwd), known, *map(str, self._printed)))
        self.process.start()

    def wait(self, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        """Wait for its end, and return the exit code and what was printed."""
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(f"train.py {' '.join(self._arguments)} did not end in {timeout} s")
        texts = [path.read_text() if path.exists() else "" for path in self._printed]
        self._folder.cleanup()
        return subprocess.CompletedProcess(self._arguments, self.process.exitcode, *texts)


def run_program(
    *arguments: str, cwd: Path, timeout: float = 300, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run `python train.py` with arguments in a folder to its end, see `Program`."""
    return Program(*arguments, cwd=cwd, **environment).wait(timeout)


def read_result(folder: Path) -> dict[str, Any]:
    """Read the record of the run in a folder."""
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

    gc.freeze()  # as the program does once its libraries are loaded
    main()
