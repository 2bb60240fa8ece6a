"""All that a training needs, built before any work is done; what does not fit is refused here."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from noisereg.config.check import Settings
from noisereg.config.plan import Part, Plan, count_parts
from noisereg.config.run_folder import REPLICAS
from noisereg.datasets import InMemory
from noisereg.errors import ConfigError, DiskError
from noisereg.files.disk import check_space
from noisereg.training.at_once import AllAtOnce
from noisereg.training.build import build_data, build_trial, check_loss, check_training_mode
from noisereg.training.engines import build_engine, choose_engine, is_long
from noisereg.training.one_by_one import OneByOne, OneNetwork
from noisereg.training.precision import choose_precision
from noisereg.training.spread import ALONE, Spread, choose_spread
from noisereg.training.training import Place, Training

_COPIES = 6  # of the weights: two checkpoints and one that is being written, each with the optimiser's momentum
_DEFAULT_THREADS = torch.get_num_threads()


def prepare(settings: Settings, *, folder: Path, console: Console, begun: Mapping[str, Any] | None = None) -> Training:
    """Build the data, the networks and the engine of a run, and what trains them, where its folder has room for that.

    Args:
        settings: the whole configuration.
        folder: of the run.
        console: to print on.
        begun: what the record of a run that is gone on with says of its environment; None if it is new.

    Raises:
        ConfigError: naming what does not fit.
    """
    asked, is_whole = settings["workers"], _is_begun_whole(settings, folder)
    if is_whole:  # what has no effect on the results may be another when a run goes on
        settings = {**settings, "workers": 1}
    began_in = (begun or {}).get("precision")
    precision = choose_precision(settings["trainer"], begun=began_in, engine=Plan(settings).asked)
    plan = Plan({**settings, "trainer": {**settings["trainer"], "precision": precision.name}})
    torch.set_num_threads(_num_threads(plan))
    data = build_data(plan.settings, plan.replicas[0]["seed"])
    network = build_trial(plan.settings, data)
    check_training_mode(plan, data, network)
    check_loss(plan.settings, data)
    choice = choose_engine(plan, data, network, begun_by=_begun_by(plan, folder))
    spread, parts = _divide(plan, choice.name, folder, is_long=partial(is_long, plan, data, network), begun=begun)
    words = choice.in_words(plan, spread, num_parts=len(parts))
    if asked not in ("auto", 1) and len(parts) < 2 <= len(plan.replicas):
        reason = "this run was begun in one process" if is_whole else "a part has at least two replicas"
        words = f"{words}; not by workers, as {reason}"
    where: Any = {"folder": folder, "console": console, "engine": words}
    build = partial(_build_part, choice.name)
    training: Training
    if len(parts) > 1:
        torch.set_num_threads(spread.threads)  # as the record says
        training = OneByOne(plan, data, parts=parts, build=partial(build, engine=choice.name), spread=spread, **where)
    else:
        training = build(plan, data, **where)
    training.precision = precision
    try:
        check_space(folder, _COPIES * training.num_bytes)
    except DiskError as error:
        raise ConfigError(str(error)) from None
    return training


def _is_begun_whole(settings: Settings, folder: Path) -> bool:
    """Return whether a grid was begun in a folder by an engine that trains all of it at once, in one process."""
    return len(Plan(settings).replicas) > 1 and any((folder / "checkpoints").glob("*.ckpt"))


def _begun_by(plan: Plan, folder: Path) -> str | None:
    """Return the engine that has begun to train the parts of a grid in a folder, if one has."""
    if len(plan.replicas) == 1 or not any((folder / REPLICAS).glob("*")):
        return None
    return "stacked" if count_parts(folder) else "single"


def _divide(
    plan: Plan, engine: str, folder: Path, *, is_long: Callable[[], bool], begun: Mapping[str, Any] | None
) -> tuple[Spread, list[Part]]:
    """Choose in which parts the replicas are trained and over what these are spread; a run keeps its parts."""
    count = len(plan.replicas)
    if engine == "single" and count > 1:
        spread = choose_spread(plan, num_parts=partial(min, count), is_long=is_long(), begun=begun)
        return spread, plan.single_parts(folder)
    divided = count_parts(folder)
    if engine != "stacked" or (plan.foreign_callback() and not divided):  # one may act on all replicas
        return ALONE, []

    def num_parts(num_workers: int) -> int:
        return min(num_workers, divided) if divided else len(plan.grid_parts(num_workers, folder))

    spread = choose_spread(plan, num_parts=num_parts, is_long=False, begun=begun)
    return spread, plan.grid_parts(divided or spread.num_workers, folder)


def _build_part(
    name: str, plan: Plan, data: InMemory, *, folder: Path, console: Console, engine: str, place: Place | None = None
) -> OneNetwork | AllAtOnce:
    """Build what trains some replicas by one process."""
    where: Any = {"folder": folder, "console": console, "engine": engine, "place": place}
    if name == "single":
        return OneNetwork(plan, data, **where)
    return AllAtOnce(plan, data, networks=build_engine(name, plan, data), **where)


def _num_threads(plan: Plan) -> int:
    """Return what is asked for, or one for networks that take one sample a step, which gain nothing from more."""
    settings = plan.settings
    one_sample_a_step = settings["dataset"]["batch_size"] == 1 and plan.obstacles().keys() >= {"fused", "blocked"}
    return settings["threads"] or (1 if one_sample_a_step else _DEFAULT_THREADS)
