"""All that a training needs, built before any work is done; what does not fit is refused here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from noisereg.config.check import Settings
from noisereg.config.plan import Plan
from noisereg.errors import ConfigError, DiskError
from noisereg.files.disk import check_space
from noisereg.training.at_once import AllAtOnce
from noisereg.training.build import build_data, build_trial, check_loss, check_training_mode
from noisereg.training.engines import build_engine, choose_engine, is_long
from noisereg.training.one_by_one import OneByOne, OneNetwork
from noisereg.training.precision import choose_precision
from noisereg.training.spread import choose_spread
from noisereg.training.training import Training

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
    began_in = (begun or {}).get("precision")
    precision = choose_precision(settings["trainer"], begun=began_in, engine=Plan(settings).asked)
    plan = Plan({**settings, "trainer": {**settings["trainer"], "precision": precision.name}})
    torch.set_num_threads(_num_threads(plan))
    data = build_data(plan.settings, plan.replicas[0]["seed"])
    network = build_trial(plan.settings, data)
    check_training_mode(plan, data, network)
    check_loss(plan.settings, data)
    choice = choose_engine(plan, data, network)
    where: Any = {"folder": folder, "console": console}
    training: Training
    if choice.name != "single":
        networks = build_engine(choice.name, plan, data)
        training = AllAtOnce(plan, data, networks=networks, engine=choice.in_words(plan), **where)
    elif len(plan.replicas) > 1:
        spread = choose_spread(plan, is_long=is_long(plan, data, network), begun=begun)
        torch.set_num_threads(spread.threads)  # as the record says
        training = OneByOne(plan, data, engine=choice.in_words(plan, spread), spread=spread, **where)
    else:
        training = OneNetwork(plan, data, engine=choice.in_words(plan), **where)
    training.precision = precision
    try:
        check_space(folder, _COPIES * training.num_bytes)
    except DiskError as error:
        raise ConfigError(str(error)) from None
    return training


def _num_threads(plan: Plan) -> int:
    """Return what is asked for, or one for networks that take one sample a step, which gain nothing from more."""
    settings = plan.settings
    one_sample_a_step = settings["dataset"]["batch_size"] == 1 and plan.obstacles().keys() >= {"fused", "blocked"}
    return settings["threads"] or (1 if one_sample_a_step else _DEFAULT_THREADS)
