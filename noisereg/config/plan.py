"""The plan of a run: the grid of replicas that it trains, and the engines that can train them.

What can be told from the configuration is told here, before torch is loaded; what only the built parts know, such as a
network that draws random numbers, `noisereg.training.engines` adds.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from math import ceil, prod
from pathlib import Path
from typing import Any, NamedTuple

from noisereg.config.check import Settings
from noisereg.config.run_folder import REPLICAS
from noisereg.config.sections import same_target, target_name
from noisereg.errors import ConfigError

ENGINES = ("fused", "blocked", "stacked", "single")  # the fastest first
MOST_SAMPLES = 128  # of a step of `fused`, whose loops keep the activations of all
_CALLBACKS = {  # ours; the work of all but the last one is done by an engine that trains replicas at once
    "sparsity": "noisereg.callbacks.SparsityMonitor",
    "norms": "noisereg.callbacks.NormMonitor",
    "gradients": "noisereg.callbacks.GradientMonitor",
    "checkpoint": "noisereg.callbacks.RunCheckpoint",
    "finite_loss": "noisereg.callbacks.FiniteLoss",
}
_TWO_LAYER = ("noisereg.models.TwoLayer", "noisereg.models.Neuron")
_PRECISIONS = ("auto", "32-true", "32", "64-true", "64")  # auto is 32-true where an engine needs that
_TRAINER_KEYS = {
    "_target_",
    "accelerator",
    "devices",
    "precision",
    "max_epochs",
    "max_steps",
    "check_val_every_n_epoch",
    "num_sanity_val_steps",
    "inference_mode",
    "enable_model_summary",
}
_AT_EPOCH_END = ("check_on_train_epoch_end", "save_on_train_epoch_end")  # settings of Lightning's callbacks
_PART = re.compile(r"\d+-of-(\d+)")  # name of the folder of a part


class Part(NamedTuple):
    """Replicas of a run that are trained in a folder of their own, as a run of their own.

    Attributes:
        plan: of that run.
        numbers: of its replicas among those of the whole run, ascending.
        folder: of it.
    """

    plan: "Plan"
    numbers: list[int]
    folder: Path


@dataclass(frozen=True)
class Plan:
    """What a run trains.

    Args:
        settings: the whole configuration, as plain values.
        shown: what names a replica; None for p, seed and, if there are several learning rates, lr.

    Example:
        >>> plan = Plan({"noise": {"p": [0, 0.2]}, "seed": 5, "seeds": 2, "optimizer": {"lr": 0.1}})
        >>> plan.names
        [{'p': 0, 'seed': 5}, {'p': 0, 'seed': 6}, {'p': 0.2, 'seed': 5}, {'p': 0.2, 'seed': 6}]
    """

    settings: Settings
    shown: tuple[str, ...] | None = None

    @cached_property
    def axes(self) -> dict[str, list[Any]]:
        """The values of each key that spans replicas: `lr`, `p` and `seed`."""
        p, lr, seeds = self.settings["noise"]["p"], self.settings["optimizer"]["lr"], self.settings["seeds"]
        return {
            "lr": lr if isinstance(lr, list) else [lr],
            "p": p if isinstance(p, list) else [p],
            "seed": seeds if isinstance(seeds, list) else [self.settings["seed"] + number for number in range(seeds)],
        }

    @cached_property
    def replicas(self) -> list[dict[str, Any]]:
        """The learning rate, the strength of the noise and the seed of each replica."""
        return [dict(zip(self.axes, values, strict=True)) for values in product(*self.axes.values())]

    @cached_property
    def names(self) -> list[dict[str, Any]]:
        """What names each replica: p, seed and, if there are several learning rates, lr."""
        shown = self.shown or ("p", "seed", *(["lr"] if len(self.axes["lr"]) > 1 else []))
        return [{key: replica[key] for key in shown} for replica in self.replicas]

    def folder_names(self) -> list[str]:
        """Name the folder of each replica, where each has one; 0 and 0.0 are one strength, and name one folder.

        Example:
            >>> Plan({"noise": {"p": [0.0, 0.1]}, "seed": 5, "seeds": 1, "optimizer": {"lr": 0.1}}).folder_names()
            ['p=0,seed=5', 'p=0.1,seed=5']
        """
        return [",".join(f"{key}={_as_whole(value)}" for key, value in name.items()) for name in self.names]

    def replica_folder(self, replica: int, run: Path) -> Path:
        """Return the folder of a replica below that of its run.

        Args:
            replica: number of it.
            run: folder of the run; one of an older version may have named a replica p=0.0, and that folder is kept.
        """
        words = [(f"{key}={_as_whole(value)}", f"{key}={float(value)}") for key, value in self.names[replica].items()]
        places = [run / REPLICAS / ",".join(parts) for parts in product(*words)]
        return next((place for place in places if place.exists()), places[0])

    def settings_of(self, replica: int) -> Settings:
        """Return the configuration of one replica as a run of its own."""
        values = self.replicas[replica]
        return {**self._settings_with(p=values["p"], lr=values["lr"], seeds=1), "seed": values["seed"]}

    def _settings_with(self, *, p: Any, lr: Any, seeds: Any) -> Settings:
        """Return the configuration of some replicas as a run of their own.

        It keeps its curves whether or not the whole run does, which joins them and draws them.
        """
        settings = self.settings
        return {
            **settings,
            "seeds": seeds,
            "noise": {**settings["noise"], "p": p},
            "optimizer": {**settings["optimizer"], "lr": lr},
            "logger": {**settings["logger"], "csv": True},
        }

    def single_parts(self, run: Path) -> list[Part]:
        """Return each replica as a part, in the folder that is named after it.

        Args:
            run: folder of the run.
        """
        return [self._part(self.settings_of(number), self.replica_folder(number, run)) for number in self.numbers]

    def grid_parts(self, most: int, run: Path) -> list[Part]:
        """Return parts of the grid that are grids themselves, the largest first; the largest is as small as can be.

        Each has two replicas or more: alone a replica would be computed by other kernels, and to other last bits.

        Args:
            most: number of parts; there are fewer where the grid cannot be divided into as many.
            run: folder of the run.

        Example:
            >>> settings = {"noise": {"p": [0, 0.2]}, "seed": 5, "seeds": 3, "optimizer": {"lr": 0.1}, "logger": {}}
            >>> [part.numbers for part in Plan(settings).grid_parts(2, Path("run"))]
            [[0, 1, 2], [3, 4, 5]]
        """
        lengths = {key: len(values) for key, values in self.axes.items()}
        # Among equals: replicas of a seed share their data, those of a learning rate their optimiser.
        cuts = min(
            _cuts(lengths, most),
            key=lambda cut: (_largest(lengths, cut), prod(cut.values()), -cut["seed"], -cut["lr"]),
        )
        pieces = product(*(_cut(values, cuts[key]) for key, values in self.axes.items()))
        grids = [self._settings_with(p=p, lr=lr, seeds=seeds) for lr, p, seeds in pieces]
        folders = [run / REPLICAS / f"{number}-of-{len(grids)}" for number in range(1, len(grids) + 1)]
        return [self._part(grid, folder) for grid, folder in zip(grids, folders, strict=True)]

    def part_of(self, replica: int, run: Path) -> Part:
        """Return the part that a replica was trained in: all of the run, if it was not divided."""
        if (folder := self.replica_folder(replica, run)).is_dir():
            return self._part(self.settings_of(replica), folder)
        if not (num_parts := count_parts(run)):
            return Part(self, self.numbers, run)
        return next(part for part in self.grid_parts(num_parts, run) if replica in part.numbers)

    @property
    def numbers(self) -> list[int]:
        """The numbers of all replicas."""
        return list(range(len(self.replicas)))

    def _part(self, settings: Settings, folder: Path) -> Part:
        plan = Plan(settings, shown=tuple(self.names[0]))
        return Part(plan, [self._number_of[tuple(replica.values())] for replica in plan.replicas], folder)

    @cached_property
    def _number_of(self) -> dict[tuple[Any, ...], int]:
        return {tuple(replica.values()): number for number, replica in enumerate(self.replicas)}

    @property
    def asked(self) -> str:
        """The engine that the configuration names: one of `ENGINES`, or auto."""
        engine = str(self.settings["engine"])
        return "single" if engine == "none" else engine

    @property
    def num_processes(self) -> int:
        """How many processes share the training of a replica."""
        trainer = self.settings.get("trainer", {})
        return trainer.get("devices", 1) * trainer.get("num_nodes", 1)

    def obstacles(self) -> dict[str, str]:
        """Return for each engine that cannot train this what keeps it, as far as the configuration tells."""
        found = {}
        for engine in ENGINES:
            reasons = _OBSTACLES[engine](self.settings)
            if reason := next((reason for reason, holds in reasons.items() if holds), None):
                found[engine] = reason
        return found

    def foreign_callback(self) -> str | None:
        """Return the key of a callback that is not ours: only `single` calls all the hooks that it may have.

        An engine that is asked for by name calls those of training steps, epochs and checkpoints.
        """
        return next(iter(_foreign_callbacks(self.settings)), None)

    def check_engine(self) -> None:
        """Refuse an engine that cannot train this.

        Raises:
            ConfigError: naming what keeps it.
        """
        if reason := self.obstacles().get(self.asked):
            raise ConfigError(f"engine={self.asked} cannot run: {reason}; set engine=auto")


def count_parts(run: Path) -> int:
    """Return into how many grids a run is divided that was begun in a folder; 0 if it is not.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "replicas" / "1-of-2").mkdir(parents=True)
        ...     count_parts(Path(folder))
        2
    """
    found = [_PART.fullmatch(path.name) for path in (run / REPLICAS).glob("*")]
    return max((int(match[1]) for match in found if match), default=0)


def _cuts(lengths: dict[str, int], most: int) -> Iterator[dict[str, int]]:
    """Yield into how many pieces the axes can be cut, for at most so many parts in all, none of a single replica."""
    for counts in product(*(range(1, min(length, most) + 1) for length in lengths.values())):
        cut = dict(zip(lengths, counts, strict=True))
        smallest = prod(lengths[key] // count for key, count in cut.items())
        if prod(counts) == 1 or (prod(counts) <= most and smallest > 1):
            yield cut


def _largest(lengths: dict[str, int], cuts: dict[str, int]) -> int:
    """Count the replicas of the largest part."""
    return prod(ceil(lengths[key] / count) for key, count in cuts.items())


def _cut(values: list[Any], count: int) -> list[list[Any]]:
    """Cut a list into pieces, the longer ones first.

    Example:
        >>> _cut([1, 2, 3, 4, 5], 2)
        [[1, 2, 3], [4, 5]]
    """
    short, longer = divmod(len(values), count)
    ends = [number * short + min(number, longer) for number in range(count + 1)]
    return [values[first:stop] for first, stop in pairwise(ends)]


def _as_whole(value: Any) -> Any:
    return int(value) if float(value).is_integer() else value


def _foreign_callbacks(settings: Settings) -> list[str]:
    sections = settings["callbacks"].items()
    return [name for name, section in sections if not same_target(section, _CALLBACKS.get(name, ""))]


def _all_at_once(settings: Settings, trainer_keys: Sequence[str] = ()) -> dict[str, bool]:
    """Return what keeps an engine of many replicas from a training."""
    trainer, callbacks = settings["trainer"], settings["callbacks"]
    checkpoint, finite_loss = (callbacks.get(name, {}) for name in ("checkpoint", "finite_loss"))
    unknown = sorted(key for key in set(trainer) - _TRAINER_KEYS - set(trainer_keys) if trainer[key] is not None)
    own_monitors = [
        name
        for name, section in callbacks.items()
        if same_target(section, "noisereg.callbacks.SparsityMonitor") and (name != "sparsity" or section.get("name"))
    ]
    replaced = [name for name in _foreign_callbacks(settings) if name in _CALLBACKS and name != "finite_loss"]
    waiting = [
        f"{name}.{key}" for name, section in callbacks.items() for key in _AT_EPOCH_END if section.get(key) is False
    ]
    return {
        f"callbacks.{next(iter(replaced), '')} is another class than ours, which needs engine=single": bool(replaced),
        f"trainer.devices={trainer['devices']} needs engine=single": trainer["devices"] > 1,
        f"trainer.precision={trainer['precision']} needs engine=single": str(trainer["precision"]) not in _PRECISIONS,
        f"trainer.{next(iter(unknown), '')} is beyond it": bool(unknown),
        "channels_last=true needs engine=single": settings["channels_last"],
        "dataset.stream=true reads images batch by batch": settings["dataset"].get("stream") is True,
        "callbacks.finite_loss.action=skip needs engine=single": finite_loss.get("action") == "skip",
        "callbacks.checkpoint.every_n_train_steps needs engine=single": bool(checkpoint.get("every_n_train_steps")),
        f"callbacks.{next(iter(own_monitors), '')} needs engine=single": bool(own_monitors),
        f"callbacks.{next(iter(waiting), '')}=false waits for validations, which engine=single alone has": bool(
            waiting
        ),
    }


def _two_layer(settings: Settings) -> dict[str, bool]:
    sparsity = settings["callbacks"].get("sparsity", {})
    return {
        f"model {target_name(settings['model'])} is not TwoLayer or Neuron": not any(
            same_target(settings["model"], name) for name in _TWO_LAYER
        ),
        "compile=true is for any network": settings["compile"],
        "regularizer.gradient_noise needs engine=stacked or engine=single": bool(
            _regularizer(settings).get("gradient_noise")
        ),
        "callbacks.sparsity chooses layers": bool(sparsity.get("layers")),
        "callbacks.sparsity.threshold is for any network": sparsity.get("threshold") is not None,
        "callbacks.sparsity.dormant is for any network": sparsity.get("dormant") is not None,
        "callbacks.sparsity.magnitude is for any network": bool(sparsity.get("magnitude")),
        f"workers={settings.get('workers')} needs engine=stacked or engine=single": _has_workers(settings),
        **_all_at_once(settings),
    }


def _has_workers(settings: Settings) -> bool:
    """Return whether replicas are to be trained by several processes, which a configuration of old does not know."""
    return settings.get("workers", 1) not in ("auto", 1)


def _regularizer(settings: Settings) -> dict[str, Any]:
    """Return the section of that name, which a configuration of an older version does not have."""
    return settings.get("regularizer", {})


def _why_not_sgd(settings: Settings, kind: str, learned: Sequence[str] = ()) -> dict[str, bool]:
    """Return what keeps an engine from an optimiser whose steps it makes itself."""
    optimizer = settings["optimizer"]
    known = {"_target_", "_partial_", "lr", "foreach", "fused", *learned}  # two of these are ways to compute the same
    extra = next((key for key, value in optimizer.items() if key not in known and value), "")
    return {
        f"optimizer {target_name(optimizer)} is not {kind}": not same_target(optimizer, "torch.optim.SGD"),
        f"optimizer.{extra} is not {kind}": bool(extra),
    }


def _why_not_blocked(settings: Settings) -> dict[str, bool]:
    return {**_two_layer(settings), **_why_not_sgd(settings, "plain SGD")}


def _why_not_fused(settings: Settings) -> dict[str, bool]:
    batch_size = settings["dataset"]["batch_size"]
    too_many = f"dataset.batch_size={batch_size}, and it takes at most {MOST_SAMPLES} samples a step"
    learned = ("momentum", "weight_decay", "nesterov")
    return {
        **_two_layer(settings),
        **_why_not_sgd(settings, "SGD with momentum and weight decay", learned),
        too_many: batch_size > MOST_SAMPLES,
    }


def _why_not_stacked(settings: Settings) -> dict[str, bool]:
    optimizer, foreign = settings["optimizer"], next(iter(_foreign_callbacks(settings)), "")
    return {
        "optimizer LBFGS evaluates the loss several times a step": same_target(optimizer, "torch.optim.LBFGS"),
        f"callbacks.{foreign} may act on all replicas, which workers={settings.get('workers')} would divide": (
            foreign != "" and _has_workers(settings)
        ),
        **_all_at_once(settings, ["gradient_clip_val"]),
    }


_OBSTACLES = {
    "fused": _why_not_fused,
    "blocked": _why_not_blocked,
    "stacked": _why_not_stacked,
    "single": lambda settings: {},
}
