"""The Hydra entry point: `python train.py`, `python -m noisereg` and the installed `noisereg-train` are this.

`python -m noisereg COMMAND ...` is the installed `noisereg COMMAND ...`.
"""

import atexit
import gc
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from noisereg import __version__
from noisereg.config.command_line import check_command_line, complete_arguments
from noisereg.config.commands import command_of_run, overrides_of_run, program_name, split_options
from noisereg.config.composing import compose_help, compose_run, conf_dir
from noisereg.config.overrides import quote_value
from noisereg.config.run_folder import RECORD, RunFolder, remove_refused_folder
from noisereg.config.sweep import Sweep
from noisereg.config.time_limit import run_within
from noisereg.config.trust_file import TRUST_FILE, with_project_trust
from noisereg.errors import ConfigError
from noisereg.files.lock import released
from noisereg.memory import share_one_heap
from noisereg.terminal import guard_logs, guard_output, open_console, silence_output

QUIET = "--quiet"
_received: list[int] = []  # signals that were to end the program


@dataclass
class _Start:
    """How far the program is before a run begins, which then writes down itself how it ends."""

    folder: Path | None = None
    sweep: Sweep | None = None
    is_over: bool = False
    is_done: bool = False  # all, without an error
    answer: Callable[[str], None] | None = None  # prints the paths, where nothing else is to be printed


_start = _Start()


def start() -> None:
    """Run `main` as the program that this process is, which ends without taking down the libraries that it has loaded.

    That takes 0.3 s or more, and the libraries for GPUs read 100 MB of their code for it. What Python and the libraries
    have registered for the end is done as ever.
    """
    atexit.register(_exit_when_done)  # what is registered first is called last
    main()
    _start.is_done = True


def _exit_when_done() -> None:
    """End the process, as the last that is to be done at its end, if the program has come to its own end."""
    if _start.is_done:
        logging.shutdown()  # that alone was registered before
        for left_open in gc.get_objects():
            if type(left_open) in (io.TextIOWrapper, io.BufferedWriter):  # a file of a user's own, say
                with suppress(OSError, ValueError):
                    left_open.flush()
        _exit_at_once(0)


def main() -> None:
    """Check the command line whole, then hand it to Hydra. Bad input ends in one line and exit code 2."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, _exit_by_signal)
    guard_output()
    # conf/hydra/launcher/ray.yaml is named after the plugin's own, and goes over it
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/ray' is validated against ConfigStore schema")
    if "--version" in sys.argv[1:]:
        print(f"noisereg {__version__}")
        return
    if QUIET in sys.argv[1:]:
        sys.argv.remove(QUIET)
        os.environ.setdefault("WANDB_SILENT", "true")
        _start.answer = silence_output()
    try:
        completed = complete_arguments(sys.argv[1:])
        sys.argv[1:] = with_project_trust(completed, split_options(completed)[1])
        if len(sys.argv) - 1 > len(completed):
            open_console().print(f"{sys.argv[-1]} stands in {TRUST_FILE}")
        _start_checked(check_command_line(sys.argv[1:]))
    except ConfigError as error:
        _exit_by_config_error(error)
    except SystemExit:
        if _received:  # a library may have made an error of its own of the exit, or print one as it is taken down
            _exit_at_once(_exit_code(_received[0]))
        raise


def _start_checked(found: Sweep | RunFolder | None) -> None:
    """Start what a command line stands for, once it is checked, and print where the records are if that is all."""
    if isinstance(found, Sweep):
        sys.argv[1:] += found.placing
        _start.sweep = found
        called: Any = {"fingerprint": _fingerprint_data, "show_results": _print_results}
        code = found.run(train, console=open_console(), **called)
        _print_paths_of_sweep(found)
        sys.exit(code)
    if _start.answer and found is None and os.environ.get("LOCAL_RANK", "0") == "0":
        raise ConfigError(f"{QUIET} goes with a run, or a sweep of Hydra's own: there is no path to print")
    if {"--help", "-h"} & set(sys.argv[1:]):
        _print_help()
    if found is None:
        train()
        return
    with found.claimed(_fingerprint_data) as _start.folder:
        sys.argv.append(f"hydra.run.dir={quote_value(str(_start.folder))}")
        train()
    if _start.answer:
        _start.answer(str(_start.folder / found.arm / RECORD))


def _print_paths_of_sweep(sweep: Sweep) -> None:
    """Print the path of the record of each finished run, and on stderr how many are not, if that is all to print."""
    if not _start.answer:
        return
    finished = [job for job in sweep.jobs if job.is_finished]
    for job in finished:
        _start.answer(str(job.folder / RECORD))
    if missing := len(sweep.jobs) - len(finished):
        of = f"{missing} of {len(sweep.jobs)} runs are not finished"
        print(f"error: {of}; their logs are in {sweep.folder}", file=sys.stderr)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
def train(config: DictConfig) -> None:
    """Train what one configuration describes, within its time limit if there is one."""
    guard_logs()
    if (
        config.get("time_limit") is None or os.environ.get("LOCAL_RANK", "0") != "0"
    ):  # the first process ends the others
        _train(config)
    else:
        _train_within(config.time_limit, config)


def _train_within(minutes: float, config: DictConfig) -> None:
    _load_run()  # once, for all jobs of a sweep
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir, config.arm or "")
    with released(folder):
        end = run_within(minutes, lambda: _train(config), folder=folder)
    if end.code == 0:
        return
    if end.is_late:
        _record_hung(config, end.reason)
    line = f"stopped: {end.reason}" if end.is_late else end.reason or f"its process ended with code {end.code}"
    is_stopped = end.code > 128 and not end.is_late  # by a signal, which ends a sweep too
    if hydra.mode == RunMode.MULTIRUN and not is_stopped:
        raise CompactHydraException(line)
    if end.is_late:
        print(line, file=sys.stderr)
    sys.exit(_exit_code(signal.SIGTERM) if end.is_late else end.code)


def _record_hung(config: DictConfig, reason: str) -> None:
    """Write the record of a run that was ended before it had written one, as one that hung while it read its data."""
    from noisereg.runs.record import RunRecord  # noqa: PLC0415 - loads torch

    hydra = HydraConfig.get()
    settings = compose_run(config, overrides_of_run(), name=str(hydra.job.config_name)).settings
    record = RunRecord(Path(hydra.runtime.output_dir, config.arm or ""), settings)
    if record.status == "new":
        record.write("stopped", reason=reason, command=command_of_run())


def _train(config: DictConfig) -> None:
    try:
        run = _load_run()
        _start.is_over = True
        run(config)
    except ConfigError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # the other jobs go on
            raise CompactHydraException(str(error)) from None
        _exit_by_config_error(error)


@cache
def _load_run() -> Callable[[DictConfig], Any]:
    """Load what trains, after the checks, without a search for garbage among the objects of the libraries.

    Imports take 4 s of CPU time in place of 7: they make nearly a million objects that stay, and searches visit all.
    """
    console = open_console()
    if console.is_terminal and os.environ.get("LOCAL_RANK", "0") == "0":
        console.print("loading torch and Lightning ...")
    gc.disable()
    share_one_heap()  # before libraries start threads
    from noisereg.training.libraries import load_lightning  # noqa: PLC0415 - loads torch

    load_lightning()
    from noisereg.training.run import run  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    return run


def _fingerprint_data(settings: dict[str, Any]) -> dict[str, Any]:
    """Read the fingerprint of the data of a configuration, before Hydra writes in a folder that holds a run."""
    _load_run()
    from noisereg.training.data_fingerprint import fingerprint_data  # noqa: PLC0415 - loads torch

    return fingerprint_data(settings)


def _print_results(folders: Sequence[Path]) -> None:
    """Print the means of the finished runs in some folders, by what differs between them."""
    if folders:
        from noisereg.report.page.comparison_table import print_results  # noqa: PLC0415 - loads pandas and scipy
        from noisereg.runs.reading import find_runs  # noqa: PLC0415 - loads pandas

        print_results(find_runs(folders), open_console())


def _print_help() -> NoReturn:
    """Print the help, with the name by which the program is started here; of a folder of the user's own Hydra's."""
    options, _ = split_options(sys.argv[1:])
    if set(options) <= {"--help", "-h"}:
        print(compose_help().replace("python train.py", program_name()))
        sys.exit(0)
    printed, code = io.StringIO(), None
    try:
        with redirect_stdout(printed):
            train()
    except SystemExit as end:
        code = end.code
    print(printed.getvalue().replace("python train.py", program_name()), end="")
    sys.exit(code)


def _exit_by_config_error(error: ConfigError) -> None:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def _exit_by_signal(number: int, frame: FrameType | None) -> None:
    """End by a signal where there is nothing to save; in a training `RunCheckpoint` takes the signals over."""
    _received.append(number)
    if _start.is_over:
        sys.exit(_exit_code(number))
    if _start.folder:
        remove_refused_folder(_start.folder)
    if _start.sweep and len(_received) == 1:  # a second signal does not wait
        _start.sweep.stop_jobs()
    _exit_at_once(_exit_code(number))  # an exception would end in whatever library is being loaded


def _exit_at_once(code: int) -> NoReturn:
    """End the process without what libraries do at its end: they print errors about their half-built parts."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, RuntimeError):  # the signal may have come in the middle of a print
            stream.flush()
    os._exit(code)


def _exit_code(number: int) -> int:
    """Return the exit code. Only that of the first of several processes counts: Lightning kills it for another's."""
    return 0 if os.environ.get("LOCAL_RANK", "0") != "0" else 128 + number


if __name__ == "__main__":
    from noisereg import __main__ as program  # noqa: PLW0406 - Ray's workers find by this name what they run
    from noisereg import cli

    if sys.argv[1:2] and sys.argv[1] in cli.COMMANDS:
        sys.exit(cli.main())
    program.start()
