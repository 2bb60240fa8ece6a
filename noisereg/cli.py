"""The installed command `noisereg`: train, report, plot and the others, each loaded when it is called."""

import os
import sys
from importlib import import_module
from pathlib import Path

from noisereg import __version__, parsers
from noisereg.errors import report_interrupt

COMMANDS = {  # with the module whose `main` each is, of train `start`
    "train": ("noisereg.__main__", "train one network, a grid or a sweep; as python train.py"),
    "report": ("noisereg.report.__main__", "a page, figures and a table of the runs below some folders"),
    "export": ("noisereg.report.export", "figures and tables of runs for a paper: pdf, svg, png, csv, LaTeX"),
    "plot": ("noisereg.report.plot", "what was measured against anything in which runs differ"),
    "labels": ("noisereg.training.labels_command", "the labels that a run's noise drew, as csv or npy"),
    "prune": ("noisereg.training.prune_command", "the networks of a run without the units that never fire"),
    "dashboard": ("noisereg.dashboard.__main__", "the W&B workspace of a project"),
    "doctor": ("noisereg.training.doctor", "versions, devices, disks and data here, for a report of a fault"),
    "completion": ("noisereg.completion", 'what bash completes these by: eval "$(noisereg completion)"'),
}


def main() -> int:
    """Run the command that the first argument names, with those after it.

    Returns:
        The exit code: that of the command, or 2 if there is no such command.
    """
    command = next(iter(sys.argv[1:]), "--help")
    if command in COMMANDS:
        if {"--help", "-h"} & set(sys.argv[2:]) and (parser := getattr(parsers, f"{command}_parser", None)):
            return _print(parser().format_help().rstrip("\n"))
        name, _ = COMMANDS[command]
        sys.argv = [_name_of(command), *sys.argv[2:]]
        try:
            module = import_module(name)
            return (module.start if command == "train" else module.main)() or 0
        except KeyboardInterrupt:  # also while the libraries are loaded, which takes seconds
            return report_interrupt()
    if command == "--version":
        return _print(f"noisereg {__version__}")
    if command not in ("--help", "-h"):
        print(f"error: noisereg {command}: there is no such command (known: {', '.join(COMMANDS)})", file=sys.stderr)
        return 2
    lines = [f"  {name:<10} {what}" for name, (_, what) in COMMANDS.items()]
    return _print(
        "\n".join(["usage: noisereg COMMAND ...", "", *lines, "", "noisereg COMMAND --help says more of one"])
    )


def _print(text: str) -> int:
    """Print a text that may be cut off, as by `| head`, and return the exit code."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at the end
    return 0


def _name_of(command: str) -> str:
    """Return the program's name in its messages; of the training a script, which further processes are started by."""
    if command != "train":
        return f"noisereg {command}"
    program = Path(sys.argv[0]).resolve()
    return str(program if program.name == "__main__.py" else program.with_name("noisereg-train"))


if __name__ == "__main__":
    sys.exit(main())
