"""What a configuration may hold: each key's values are checked before any work, and before torch is loaded."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails


class ConfigError(ValueError):
    """A wrong input. Its text is one line: the key, the value, what it must be, and the mend where there is one."""


def _must_be(description: str, **limits: Any) -> Any:
    """Make a field's limits together with the words that complete the sentence "<key> must be ..."."""
    return Field(description=description, **limits)


_MOST = 2**31  # more of anything is a slip of the hand
Positive = Annotated[int, Field(ge=1, lt=_MOST)]
Strength = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seeds = Annotated[int, Field(ge=1, le=100_000)]
Size = Annotated[int, _must_be("a whole number, at least 1", ge=1, lt=_MOST)]
SizeOrNull = Annotated[Positive | None, _must_be("a whole number, at least 1, or null")]
AtLeastZero = Annotated[float, _must_be("a number, at least 0", ge=0)]
Flag = Annotated[bool, _must_be("true or false")]
Text = Annotated[str, _must_be("a text that is not empty", min_length=1)]


def _all_different(values: list[float]) -> list[float]:
    if len(set(values)) < len(values):
        raise ValueError("a value comes twice")
    return values


Item = TypeVar("Item")
OneOfEach = Annotated[list[Item], Field(min_length=1), AfterValidator(_all_different)]
Strengths = Annotated[Strength | OneOfEach[Strength], _must_be("a number in [0, 1], or a list of different ones")]
Precision = Literal[
    "16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true", "16", "32", "64", 16, 32, 64
]
PackageName = Annotated[str, Field(pattern=r"^\w+(\.\w+)*$")]
ArmName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
Target = Annotated[
    str, Field(alias="_target_", description="the dotted name of what is to be built", pattern=r"^\w+(\.\w+)+$")
]


class Section(BaseModel):
    """A part of the configuration in which every key is known."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class Component(Section):
    """A part that builds an object: keys that are not known here are arguments of its class, which checks them."""

    model_config = ConfigDict(extra="allow")
    target: Target


class Noise(Component):
    """Keys of every noise rule."""

    p: Strengths
    expected: Flag = False
    frozen: Flag = False
    matrix: Annotated[list[list[float]] | None, _must_be("a list of rows of numbers, or null")] = None
    schedule: Component


class Model(Component):
    """Keys that several models have."""

    num_outputs: SizeOrNull = None
    hidden: Annotated[Positive | list[Positive], _must_be("a whole number, at least 1, or a list of them")] = 1
    output_signs: Flag = False
    append_one: Flag = False


class Dataset(Component):
    """Keys that several data sets have."""

    train_size: SizeOrNull = None
    test_size: SizeOrNull = None
    val_size: Annotated[int, _must_be("a whole number, at least 0", ge=0)] = 0
    train_eval_size: SizeOrNull = None
    batch_size: Size = 1
    eval_batch_size: Size = 1000
    order: Annotated[Literal["shuffle", "replacement"], _must_be("shuffle or replacement")] = "shuffle"
    root: Text = "data"
    workers: Annotated[int, _must_be("a whole number, at least 0", ge=0)] = 0
    stream: Annotated[bool | Literal["auto"], _must_be("true, false or auto")] = "auto"


class Loss(Component):
    """Keys that a loss may have."""

    beta: AtLeastZero = 0.0


class Optimizer(Component):
    """Keys that several optimisers have."""

    lr: Annotated[Rate | OneOfEach[Rate], _must_be("a number above 0, or a list of different ones")]
    momentum: Annotated[float, _must_be("a number in [0, 1)", ge=0, lt=1)] = 0.0
    weight_decay: AtLeastZero = 0.0
    nesterov: Flag = False


class Scheduler(Section):
    """A learning-rate schedule, or nothing."""

    model_config = ConfigDict(extra="allow")
    target: Annotated[str | None, Field(alias="_target_", description="the dotted name of a schedule")] = None
    step_size: Size = 1
    T_max: Size = 1
    milestones: Annotated[list[Positive], _must_be("a list of epochs")] = []
    gamma: Annotated[Rate, _must_be("a number above 0")] = 1.0
    eta_min: AtLeastZero = 0.0


class Trainer(Component):
    """Keys of Lightning's Trainer that are checked here."""

    accelerator: Annotated[Literal["auto", "cpu", "gpu", "cuda", "mps"], _must_be("auto, cpu, gpu, cuda or mps")]
    devices: Size
    max_epochs: Size
    max_steps: Annotated[int, _must_be("a whole number of steps, or -1 for no limit", ge=-1, lt=2**63)]
    precision: Annotated[Precision, _must_be("a precision of Lightning, such as 32-true or bf16-mixed")]
    check_val_every_n_epoch: Size = 1
    gradient_clip_val: Annotated[AtLeastZero | None, _must_be("a number, at least 0, or null")] = None


class Callback(Component):
    """Keys that several callbacks have."""

    every_n_epochs: Size = 1
    every_n_train_steps: SizeOrNull = None


class Logger(Section):
    """Where the curves go."""

    csv: Flag
    wandb: Flag
    project: Text
    group: Annotated[Annotated[str, Field(min_length=1)] | None, _must_be("the name of a W&B group, or null")]
    tags: Annotated[list[str], _must_be("a list of words")]


class Stopping(Section):
    """When a replica stops before the end."""

    extra_epochs: Annotated[int | None, _must_be("a whole number of epochs, at least 0, or null", ge=0)]


class Grid(Section):
    """What spans the replicas of a run if nothing else is said."""

    p: Strengths
    seeds: Annotated[Seeds, _must_be("a whole number in [1, 100000]")]


class Experiment(Section):
    """What is known of an experiment: its arms, and what the paper says of its outcome."""

    id: Annotated[str | None, _must_be("the id of a claim, or null")] = None
    title: Annotated[str | None, _must_be("words, or null")] = None
    place: Annotated[str | None, _must_be("where it stands in the paper, or null")] = None
    note: Annotated[str | None, _must_be("words, or null")] = None
    train: Flag = True
    arms: Annotated[
        dict[ArmName, list[str]], _must_be("lists of overrides by names of letters, digits and hyphens")
    ] = {}
    fast: Annotated[list[str], _must_be("a list of overrides")] = []
    figure: Annotated[list[dict[str, Any]], _must_be("a list of panels")] = []
    claims: Annotated[list[dict[str, Any]], _must_be("a list of claims")] = []
    checks: dict[str, Component] = {}


class Suggested(Section):
    """What a data set suggests to models with one hidden layer."""

    hidden: Size
    init: Text
    bias: Text
    p: Strengths
    replicas: Grid


class Config(Section):
    """The whole configuration, as `conf/train.yaml` composes it. What others are taken from is told of first."""

    suggested: Suggested
    seed: Annotated[Seed, _must_be("a whole number in [0, 2**63)")]
    seeds: Annotated[Seeds | OneOfEach[Seed], _must_be("a whole number in [1, 100000], or a list of different seeds")]
    engine: Annotated[Literal["auto", "fused", "blocked", "none"], _must_be("auto, fused, blocked or none")]
    stopping: Stopping
    threads: Annotated[Annotated[int, Field(ge=1, le=1024)] | None, _must_be("a whole number in [1, 1024], or null")]
    channels_last: Flag
    compile: Flag
    fast: Flag
    arm: Annotated[str | None, _must_be("the name of an arm of the experiment, or null")]
    trust: Annotated[list[PackageName], _must_be("a list of names of packages, such as [mypkg]")] = []
    experiment: Experiment
    noise: Noise
    model: Model
    dataset: Dataset
    loss: Loss
    optimizer: Optimizer
    scheduler: Scheduler
    callbacks: dict[str, Callback]
    trainer: Trainer
    logger: Logger


def conf_dir() -> Path:
    """Give the folder of the configuration: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def check(config: DictConfig) -> dict[str, Any]:
    """Check a composed configuration.

    Args:
        config: without Hydra's own part.

    Returns:
        The configuration as plain values, every interpolation resolved.

    Raises:
        ConfigError: naming the first key that is wrong.

    Example:
        >>> check(OmegaConf.create({"seed": -1}))
        Traceback (most recent call last):
        noisereg.config.ConfigError: seed must be a whole number in [0, 2**63), got -1
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        Config.model_validate(plain)
    except ValidationError as error:
        faults = sorted(error.errors(), key=lambda fault: fault["type"] == "missing")
        raise ConfigError(_sentence(faults[0])) from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or error.key}: {str(error).splitlines()[0]}") from None
    return plain  # type: ignore[return-value]


def nearest(name: str, names: Iterable[str]) -> str:
    """Give the hint "; did you mean ...?" for a name that is not among the known ones, or nothing.

    Example:
        >>> nearest("resnet21", ["resnet20", "mlp"])
        '; did you mean resnet20?'
    """
    closest = max(sorted(names), key=lambda known: _likeness(name, known), default="")
    return f"; did you mean {closest}?" if closest and _likeness(name, closest) >= 0.6 else ""


def _likeness(name: str, known: str) -> float:
    return difflib.SequenceMatcher(None, name, known).ratio()


def _sentence(fault: ErrorDetails) -> str:
    place = [str(part) for part in fault["loc"]]
    key, description, section = _locate(place)
    if fault["type"] == "extra_forbidden":
        return f"{key}={fault['input']!r}: there is no such key{nearest(place[-1], _fields(section))}"
    if fault["type"] == "missing":
        return f"{key} is missing: it must be {description}"
    limit = " and below 2**31" if fault.get("ctx", {}).get("lt") == _MOST else ""
    return f"{key} must be {description}{limit}, got {fault['input']!r}"


def _locate(place: list[str]) -> tuple[str, str, type[Section]]:
    """Find the key that pydantic's place stands for, the words for its values, and the section that holds it."""
    section: type[Section] = Config
    for depth, name in enumerate(place, start=1):
        field = _fields(section).get(name)
        annotation = field.annotation if field else None
        if field and not field.description and get_origin(annotation) is dict:
            section = get_args(annotation)[1]
        elif isinstance(annotation, type) and issubclass(annotation, Section):
            section = annotation
        elif field and field.description:
            return ".".join(place[:depth]), field.description, section
    return ".".join(place), "a section of keys", section


def _fields(section: type[Section]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in section.model_fields.items()}
