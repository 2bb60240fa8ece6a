"""What a configuration may hold: a class for each of its sections, with the limits of each key's values."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

TOGETHER = "together"  # kind of a fault of several keys, whose text is a whole sentence


def must_be(description: str, **limits: Any) -> Any:
    """Build a field's limits together with the words that complete the sentence "<key> must be ..."."""
    return Field(description=description, **limits)


MOST = 2**31  # more of anything is a slip of the hand
Positive = Annotated[int, Field(ge=1, lt=MOST)]
Strength = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seeds = Annotated[int, Field(ge=1, le=100_000)]
Size = Annotated[int, must_be("a whole number, at least 1", ge=1, lt=MOST)]
SizeOrNull = Annotated[Positive | None, must_be("a whole number, at least 1, or null")]
AtLeastZero = Annotated[float, must_be("a number, at least 0", ge=0)]
Flag = Annotated[bool, must_be("true or false")]
Text = Annotated[str, must_be("a text that is not empty", min_length=1)]


def _all_different(values: list[float]) -> list[float]:
    if len(set(values)) < len(values):
        raise ValueError("a value comes twice")
    return values


Item = TypeVar("Item")
OneOfEach = Annotated[list[Item], Field(min_length=1), AfterValidator(_all_different)]
Strengths = Annotated[Strength | OneOfEach[Strength], must_be("a number in [0, 1], or a list of different ones")]
Precision = Literal[
    "auto", "16-true", "16-mixed", "bf16-true", "bf16-mixed", "32-true", "64-true", "16", "32", "64", 16, 32, 64
]
PackageName = Annotated[str, Field(pattern=r"^\w+(\.\w+)*$")]
ArmName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
Target = Annotated[
    str, Field(alias="_target_", description="the dotted name of what is to be built", pattern=r"^\w+(\.\w+)+$")
]
Partial = Annotated[Literal[True], Field(alias="_partial_", description="true: it needs the weights")]


class Section(BaseModel):
    """A part of the configuration in which every key is known."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class Built(Section):
    """A part that builds an object: keys that are not known here are arguments of its class, which checks them."""

    model_config = ConfigDict(extra="allow")
    target: Target


class Component(Built):
    """A part that is built before the run begins."""

    partial: Annotated[Literal[False], Field(alias="_partial_", description="left out: the run builds it whole")] = (
        False
    )


class Noise(Component):
    """Keys of every noise rule."""

    p: Strengths
    expected: Flag = False
    frozen: Flag = False
    matrix: Annotated[list[list[float]] | None, must_be("a list of rows of numbers, or null")] = None
    schedule: Component


class Model(Component):
    """Keys that several models have."""

    num_outputs: SizeOrNull = None
    hidden: Annotated[
        Positive | Annotated[list[Positive], Field(min_length=1)],
        must_be("a whole number, at least 1, or a list of them"),
    ] = 1
    output_signs: Flag = False
    append_one: Flag = False
    output_scale: Annotated[float, must_be("a number above 0", gt=0)] = 1.0


class Dataset(Component):
    """Keys that several data sets have."""

    train_size: SizeOrNull = None
    test_size: SizeOrNull = None
    val_size: Annotated[int, must_be("a whole number, at least 0", ge=0)] = 0
    train_eval_size: SizeOrNull = None
    batch_size: Size
    eval_batch_size: Size = 1000
    order: Annotated[Literal["shuffle", "replacement"], must_be("shuffle or replacement")] = "shuffle"
    root: Text = "data"
    workers: Annotated[int, must_be("a whole number, at least 0", ge=0)] = 0
    stream: Annotated[bool | Literal["auto"], must_be("true, false or auto")] = "auto"


class LossSection(Component):
    """Keys that a loss may have."""

    beta: AtLeastZero = 0.0


class Optimizer(Built):
    """Keys that several optimisers have."""

    partial: Partial = True
    lr: Annotated[Rate | OneOfEach[Rate], must_be("a number above 0, or a list of different ones")]
    momentum: Annotated[float, must_be("a number in [0, 1)", ge=0, lt=1)] = 0.0
    weight_decay: AtLeastZero = 0.0
    nesterov: Flag = False

    @model_validator(mode="after")
    def _check_nesterov(self) -> "Optimizer":
        if self.nesterov and not self.momentum:
            raise PydanticCustomError(TOGETHER, "optimizer.nesterov=true needs optimizer.momentum above 0, such as 0.9")
        return self


class Scheduler(Section):
    """A learning-rate schedule, or nothing."""

    model_config = ConfigDict(extra="allow")
    target: Target = ""  # it has none if it is nothing
    partial: Partial = True
    step_size: Size = 1
    T_max: Size = 1
    milestones: Annotated[list[Positive], must_be("a list of epochs")] = []
    gamma: Annotated[Rate, must_be("a number above 0")] = 1.0
    eta_min: AtLeastZero = 0.0


_LEFT_OUT = {  # arguments of Lightning's Trainer that would make a number mean something else
    "limit_train_batches": "an epoch is a pass over all training samples; give dataset.train_size or trainer.max_steps",
    "limit_val_batches": "all samples are evaluated; give dataset.test_size or dataset.train_eval_size",
    "limit_test_batches": "all samples are evaluated; give dataset.test_size",
    "overfit_batches": "the training samples are evaluated too; give dataset.train_size",
    "val_check_interval": "evaluations are at the end of epochs; give callbacks.sparsity.every_n_epochs",
    "min_epochs": "give trainer.max_epochs, and stopping.extra_epochs for an end before it",
    "min_steps": "give trainer.max_epochs, and stopping.extra_epochs for an end before it",
    "max_time": "the clock must not decide what comes out; time_limit=MINUTES stops a run that can go on",
    "barebones": "a run logs what it measures",
}


class Trainer(Component):
    """Keys of Lightning's Trainer that are checked here."""

    accelerator: Annotated[Literal["auto", "cpu", "gpu", "cuda", "mps"], must_be("auto, cpu, gpu, cuda or mps")]
    devices: Size
    max_epochs: Size
    max_steps: Annotated[int, must_be("a whole number of steps, or -1 for no limit", ge=-1, lt=2**63)]
    precision: Annotated[Precision, must_be("auto, or a precision of Lightning, such as 32-true or bf16-mixed")]
    check_val_every_n_epoch: Size = 1
    gradient_clip_val: Annotated[AtLeastZero | None, must_be("a number, at least 0, or null")] = None
    accumulate_grad_batches: Size = 1
    num_nodes: Size = 1
    log_every_n_steps: SizeOrNull = None
    num_sanity_val_steps: Annotated[int, must_be("a whole number, at least 0, or -1 for all", ge=-1)] = 0
    inference_mode: Annotated[Literal[False], must_be("false, as metrics go on from one evaluation to the next")] = (
        False
    )
    fast_dev_run: Annotated[Literal[False], must_be("false: for a trial run give trainer.max_steps=10 logger=none")] = (
        False
    )

    @model_validator(mode="after")
    def _check_left_out(self) -> "Trainer":
        for key, reason in _LEFT_OUT.items():
            if (self.model_extra or {}).get(key) is not None:
                raise PydanticCustomError(TOGETHER, f"trainer.{key} must be left out: {reason}")
        return self


class Callback(Component):
    """Keys that several callbacks have."""

    every_n_epochs: Size = 1
    every_n_train_steps: SizeOrNull = None
    by_layer: Annotated[Literal["last", "all"], must_be("last or all")] = "last"


Tag = Annotated[str, Field(min_length=1, max_length=64)]  # as W&B limits them


class Logger(Section):
    """Where the curves go."""

    csv: Flag
    wandb: Flag
    tensorboard: Flag = False
    trackio: Flag = False
    mlflow: Flag = False
    own: dict[str, Component] = {}
    project: Text
    group: Annotated[Annotated[str, Field(min_length=1)] | None, must_be("the name of a group of runs, or null")]
    tags: Annotated[list[Tag], must_be("a list of words of 1 to 64 characters")]


class Stopping(Section):
    """When a replica stops before the end."""

    extra_epochs: Annotated[int | None, must_be("a whole number of epochs, at least 0, or null", ge=0)]


class ReplicaGrid(Section):
    """What spans the replicas of a run if nothing else is said."""

    p: Strengths
    seeds: Annotated[Seeds, must_be("a whole number in [1, 100000]")]


class Experiment(Section):
    """What is known of an experiment: its arms, and what the paper says of its outcome."""

    id: Annotated[str | None, must_be("the id of a claim, or null")] = None
    title: Annotated[str | None, must_be("words, or null")] = None
    place: Annotated[str | None, must_be("where it stands in the paper, or null")] = None
    note: Annotated[str | None, must_be("words, or null")] = None
    primary: Annotated[str | None, must_be("the id of its primary claim or check, or null")] = None
    train: Flag = True
    arms: Annotated[
        dict[ArmName, list[str]], must_be("lists of overrides by names of letters, digits and hyphens")
    ] = {}
    fast: Annotated[list[str], must_be("a list of overrides")] = []
    figure: Annotated[list[dict[str, Any]], must_be("a list of panels")] = []
    claims: Annotated[list[dict[str, Any]], must_be("a list of claims")] = []
    checks: dict[str, Component] = {}


class RegularizerSection(Section):
    """What else is added to each step."""

    activity_l1: AtLeastZero = 0.0
    gradient_noise: AtLeastZero = 0.0


class Suggested(Section):
    """What a data set suggests to models with one hidden layer."""

    hidden: SizeOrNull
    init: Text
    bias: Text
    p: Strengths
    replicas: ReplicaGrid


class Config(Section):
    """The whole configuration, as `conf/train.yaml` composes it. Faults are told in this order."""

    suggested: Suggested
    seed: Annotated[Seed, must_be("a whole number in [0, 2**63)")]
    seeds: Annotated[Seeds | OneOfEach[Seed], must_be("a whole number in [1, 100000], or a list of different seeds")]
    engine: Annotated[
        Literal["auto", "fused", "blocked", "stacked", "single", "none"],
        must_be("auto, fused, blocked, stacked or single"),
    ]
    workers: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1, le=1024)], must_be("auto, or a whole number in [1, 1024]")
    ] = "auto"
    stopping: Stopping
    threads: Annotated[Annotated[int, Field(ge=1, le=1024)] | None, must_be("a whole number in [1, 1024], or null")]
    time_limit: Annotated[Rate | None, must_be("a number of minutes above 0, or null")] = None
    channels_last: Flag
    compile: Flag
    fast: Flag
    arm: Annotated[str | None, must_be("the name of an arm of the experiment, or null")]
    trust: Annotated[list[PackageName], must_be("a list of names of packages, such as [mypkg]")] = []
    experiment: Experiment
    noise: Noise
    model: Model
    dataset: Dataset
    loss: LossSection
    optimizer: Optimizer
    scheduler: Scheduler
    regularizer: RegularizerSection = RegularizerSection()
    callbacks: dict[str, Callback]
    trainer: Trainer
    logger: Logger

    @model_validator(mode="after")
    def _check_compiled(self) -> "Config":
        if self.compile and self.regularizer.activity_l1:
            raise PydanticCustomError(
                TOGETHER, "regularizer.activity_l1 and compile=true exclude each other; set compile=false"
            )
        return self

    @model_validator(mode="after")
    def _check_workers(self) -> "Config":
        for key, number in {"devices": self.trainer.devices, "num_nodes": self.trainer.num_nodes}.items():
            if self.workers not in ("auto", 1) and number > 1:
                raise PydanticCustomError(
                    TOGETHER,
                    f"workers={self.workers} and trainer.{key}={number} do not go together: a worker trains a replica "
                    "by one process; leave one of the two out",
                )
        return self
