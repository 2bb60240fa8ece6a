"""The options of the commands but train, apart from what runs them: `--help` loads no library."""

from argparse import ArgumentParser
from pathlib import Path

EXPORTED = ("pdf", "svg", "png", "csv", "tex")
REPLICA = {"p": float, "seed": int, "lr": float}  # what names a replica of a run, besides its arm


def report_parser() -> ArgumentParser:
    """Return the parser of `noisereg report`."""
    parser = ArgumentParser(prog="noisereg report", description="What finished runs came to: a page, figures, tables.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="of a run, or of many runs")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="to write into; by default the first one")
    return parser


def export_parser() -> ArgumentParser:
    """Return the parser of `noisereg export`."""
    parser = ArgumentParser(
        prog="noisereg export",
        description="The figures and tables of runs as a paper takes them, vector graphics and LaTeX.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="of a run, or of many runs")
    parser.add_argument("--out", type=Path, default=Path("export"), metavar="FOLDER", help="by default export")
    parser.add_argument("--format", default=",".join(EXPORTED), help=f"by default all: {','.join(EXPORTED)}")
    parser.add_argument(
        "--width", help="of figures: column (3.25 inches), page (6.75) or inches; by default page, of each panel column"
    )
    parser.add_argument("--each", action="store_true", help="each panel as a figure of its own")
    parser.add_argument("--font", default="sans-serif", help="of figures, by the name that the system has for it")
    return parser


def plot_parser() -> ArgumentParser:
    """Return the parser of `noisereg plot`."""
    parser = ArgumentParser(prog="noisereg plot", description="What was measured against anything that differs.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="of a run, a sweep, or many runs")
    parser.add_argument("--x", required=True, metavar="KEY", help="a setting that differs, epoch, step or a metric")
    parser.add_argument("--y", default="test/error", metavar="METRIC,...", help="a panel each; by default test/error")
    parser.add_argument("--by", metavar="KEY,...", help="what tells lines apart; by default all else that differs")
    parser.add_argument("--where", action="append", default=[], metavar="KEY=VALUE", help="leave out other replicas")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help=".pdf, .svg or .png; without it, a drawing in the terminal"
    )
    parser.add_argument("--width", help="column (3.25 inches), page (6.75) or inches; by default column for one panel")
    parser.add_argument("--font", default="sans-serif", help="by the name that the system has for it")
    return parser


def labels_parser() -> ArgumentParser:
    """Return the parser of `noisereg labels`."""
    parser = _run_parser("labels", "The labels that a rule drew for the samples of a run, for other tools.")
    parser.add_argument("--epoch", type=int, metavar="N", help="from 0, of noise that is drawn anew in each epoch")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="that is new, .csv or .npy")
    return parser


def prune_parser() -> ArgumentParser:
    """Return the parser of `noisereg prune`."""
    parser = _run_parser(
        "prune",
        "The networks of a run without the units that never fire on its training data. It shows that the outputs on "
        "the training data stay what they were, says on how many test samples they do not, and prints parameters, "
        "multiplications and the measured speed before and after.",
    )
    parser.add_argument(
        "--tau", type=float, help="also units whose mean activation is at most this share of their layer's mean"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="for a file of each network; by default RUN/pruned"
    )
    return parser


def _run_parser(name: str, description: str) -> ArgumentParser:
    """Return a parser that takes a finished run, and what names a replica of it."""
    parser = ArgumentParser(prog=f"noisereg {name}", description=description)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    for key, kind in REPLICA.items():
        parser.add_argument(f"--{key}", type=kind, metavar=key.upper(), help=f"of a replica with this {key}")
    parser.add_argument("--arm", default="", metavar="NAME", help="of the experiment that the run is")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="of the data, if they were moved")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="of your own, to build from")
    return parser


def dashboard_parser() -> ArgumentParser:
    """Return the parser of `noisereg dashboard`."""
    parser = ArgumentParser(prog="noisereg dashboard", description="The W&B workspace of a project.")
    parser.add_argument("--project", default="noisereg", help="of W&B, as logger.project; by default noisereg")
    parser.add_argument("--entity", help="user or team that owns the project; by default that of the key")
    parser.add_argument("--group", help="show the runs of this group only, such as the name of a sweep's folder")
    parser.add_argument("--save", action="store_true", help="save it on W&B as a new view; prints its URL")
    return parser


def doctor_parser() -> ArgumentParser:
    """Return the parser of `noisereg doctor`."""
    parser = ArgumentParser(
        prog="noisereg doctor",
        description="What a run would find on this machine, as text to paste into a report of a fault.",
    )
    parser.add_argument(
        "--root", type=Path, default=Path("data"), metavar="FOLDER", help="of the data; by default data"
    )
    return parser


def completion_parser() -> ArgumentParser:
    """Return the parser of `noisereg completion`."""
    return ArgumentParser(
        prog="noisereg completion",
        description='What bash completes the commands by, once it was told to: eval "$(noisereg completion)"',
    )
