"""What a run says of itself: its figures, and of an experiment the checks of its theorems and its verdicts.

The room of reports loads the chart library, which no run needs before its end: it is imported where it is used.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from inspect import signature
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from noisereg.config.check import Settings
from noisereg.config.sections import model_name, target_name
from noisereg.engine.measurement import Measurement
from noisereg.errors import ConfigError
from noisereg.runs.reading import find_runs
from noisereg.terminal import print_lines
from noisereg.training.build import build
from noisereg.training.training import Training

if TYPE_CHECKING:
    from noisereg.report import Figure

_LAST_OF_TRAINING = 0.8  # of its epochs are over; of one that takes ten seconds the rest is as long as this loading


def read_experiment(settings: Settings) -> dict[str, Any]:
    """Return the part of an experiment that a report reads, with numbers in place of what computes them.

    Raises:
        ConfigError: naming the claim, panel or number that is wrong, before any work is done.
    """
    if not settings["experiment"]:
        return {}
    from noisereg.report.claims.claim import Claim  # noqa: PLC0415
    from noisereg.report.figures.panel import PanelSpec  # noqa: PLC0415

    experiment = settings["experiment"]
    for key, read in (("claims", Claim.of), ("figure", PanelSpec.of)):
        for section in experiment.get(key, []):
            try:
                read(section)
            except ValueError as error:
                raise ConfigError(f"experiment.{key}: {error}") from error
    primary, ids = experiment.get("primary"), [claim["id"] for claim in experiment.get("claims", [])]
    if primary is not None and primary not in ids and not experiment.get("checks"):
        raise ConfigError(f"experiment.primary must be the id of one of its claims, {', '.join(ids)}, got {primary!r}")
    parts = ("id", "title", "place", "note", "primary", "figure", "claims")
    return {part: _computed(experiment[part], f"experiment.{part}") for part in parts if experiment.get(part)}


def draw_replicas(training: Training, rows: list[dict[str, Any]]) -> list[Path]:
    """Draw the curves of a run, and the end of training against what its replicas differ in, into its folder.

    Returns:
        The pictures.
    """
    from noisereg.report import draw_run  # noqa: PLC0415

    settings, rule = training.settings, type(training.rules[0]).__name__
    model, loss = model_name(settings["model"]), target_name(settings["loss"])
    title = f"{model} on {training.data.source} under {rule}"
    subtitle = f"{settings['trainer']['max_epochs']:,} epochs, loss {loss}"
    drawn = draw_run(rows, training.curves.frame(), title=title, subtitle=subtitle)
    folder, console = training.folder / "figures", training.console
    with ThreadPoolExecutor(1) as pool:  # the process of the chart library draws one while this one composes the next
        saved = {name: pool.submit(_save, figure, folder / name, console) for name, figure in drawn}
    return [folder / f"{name}.png" for name, is_saved in saved.items() if is_saved.result()]


def draw_experiment(folder: Path, console: Console) -> None:
    """Draw the figure of a finished experiment and print its verdicts, as a report of its folder does.

    A figure that the run does not allow, as one of curves that were not kept, is a line that says why.
    """
    from noisereg.report.figures.figure import figure_of, panels_of  # noqa: PLC0415
    from noisereg.report.groups.reading import compute_or_explain  # noqa: PLC0415
    from noisereg.report.groups.run_group import group_runs  # noqa: PLC0415
    from noisereg.report.page.terminal import judgement_table  # noqa: PLC0415

    (group,) = group_runs(find_runs([folder / "result.json"]))
    path = folder / "figures" / "experiment"
    figure, fault = compute_or_explain(lambda: figure_of(group)) if panels_of(group) else (None, "")
    if figure:
        _save(figure, path, console)
    if fault:
        print_lines(console, f"not drawn: {path}: {fault}")
    if group.judgements:
        console.print(judgement_table(group.judgements))


def run_checks(settings: Settings, console: Console) -> list[dict[str, Any]]:
    """Run the verifiers that an experiment names, and return their checks as plain values.

    One that takes a seed is given that of the run, unless the experiment names another.

    Raises:
        ConfigError: if a verifier refuses its arguments, or is none.
    """
    rows = []
    verifiers = settings["experiment"].get("checks", {})
    if verifiers:
        from noisereg.theory import Check  # noqa: PLC0415 - loads scipy.stats
    for name, section in verifiers.items():
        key = f"experiment.checks.{name}"
        takes_seed = "seed" in signature(build(key, {**section, "_partial_": True})).parameters
        seed = {"seed": settings["seed"]} if takes_seed and "seed" not in section else {}
        with console.status(Text(f"checking {name}")):
            checks = build(key, section, **seed)
        if not (isinstance(checks, list) and all(isinstance(check, Check) for check in checks)):
            raise ConfigError(f"experiment.checks.{name}: {section['_target_']} gives no list of checks")
        rows += [check.as_row() for check in checks]
    return rows


class DrawingBeginner:
    """Begin drawing beside the last of a training, see `begin_drawing`."""

    def __init__(self, num_epochs: int) -> None:
        self._from, self._has_begun = _LAST_OF_TRAINING * num_epochs, False

    def observe(self, measurement: Measurement) -> None:
        """Begin at the first measurement of the last of the training."""
        if measurement.epoch >= self._from and not self._has_begun:
            self._has_begun = True
            begin_drawing()


def begin_drawing() -> None:
    """Load what draws figures, and start the process of the chart library, beside the last work of a run."""

    def load() -> None:
        with suppress(Exception):  # what cannot be loaded is told where a figure is drawn
            from noisereg.report.figures.chart_process import CHARTS  # noqa: PLC0415 - and with it all of the room

            CHARTS.start()

    Thread(target=load, daemon=True).start()


def _save(chart: "Figure", path: Path, console: Console) -> bool:
    """Return whether a figure was written; a run whose figure the chart library cannot draw goes on without."""
    from noisereg.report import save  # noqa: PLC0415
    from noisereg.report.figures.chart_process import DrawingError  # noqa: PLC0415

    try:
        save(chart, path)
    except DrawingError as error:
        print_lines(console, f"not drawn: {path}: {error}")
        return False
    return True


def _computed(node: Any, key: str) -> Any:
    if isinstance(node, list):
        return [_computed(value, f"{key}[{place}]") for place, value in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if "_target_" not in node:
        return {name: _computed(value, f"{key}.{name}") for name, value in node.items()}
    return float(build(key, node))
