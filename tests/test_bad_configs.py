"""Hundreds of wrong configurations: each ends the program with 2 and a line that names the key, and leaves nothing."""

import io
import math
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_program import run_program

from noisereg.__main__ import main

NO_NUMBER = [None, "", "many", "1", True, False, {}, {"a": 1}, [[1]], ["x"], math.nan, math.inf, -math.inf]
NO_FLAG = [None, "", "maybe", "true", 0, 1, 2.5, [], [True], {}]
NO_WORD = [None, 0, 1.5, True, [], ["a"], {}, ""]


def whole(least=1, *, most=2**31 - 1, null=False, many=False):
    """Values that are no whole number in [least, most]."""
    below, above = st.integers(max_value=least - 1), st.integers(min_value=most + 1)
    wrong = [value for value in NO_NUMBER if not (null and value is None)]
    fractions = st.floats(allow_nan=False).filter(lambda value: not isinstance(value, int))
    lists = [] if many else [st.lists(st.integers(1, 9), min_size=1, max_size=3)]
    return st.one_of(st.sampled_from(wrong), below, above, fractions, *lists)


def number(least=0.0, most=math.inf, *, open_below=False, open_above=False, many=False):
    """Values that are no number in an interval."""
    outside = [st.floats(max_value=least, exclude_max=not open_below, allow_nan=False)]
    if most < math.inf:
        outside.append(st.floats(min_value=most, exclude_min=not open_above, allow_nan=False))
    lists = [st.just([]), st.lists(st.floats(max_value=-0.1, allow_nan=False), min_size=1, max_size=3)]
    same = [st.just([0.5, 0.5])] if many else [st.just([0.5])]
    return st.one_of(st.sampled_from(NO_NUMBER), *outside, *lists, *same)


def one_of(*words):
    return st.one_of(st.sampled_from(NO_WORD), st.text(min_size=1).filter(lambda word: word not in words))


PARTS = ("noise", "model", "dataset", "trainer", "logger")
FLAG, TEXT = st.sampled_from(NO_FLAG), st.sampled_from(NO_WORD)
GRID = whole(most=100_000, many=True)
WRONG = {
    "seed": whole(0, most=2**63 - 1),
    "seeds": GRID | st.sampled_from([[], [0, 0], [-1], [0.5]]),
    "engine": one_of("auto", "fused", "blocked", "none"),
    "stopping.extra_epochs": st.integers(max_value=-1) | st.sampled_from(["", "soon", 1.5, True, [], {}]),
    "regularizer.activity_l1": number(0),
    "regularizer.gradient_noise": number(0),
    "workers": whole(most=1024),
    "threads": whole(most=1024, null=True),
    "channels_last": FLAG,
    "compile": FLAG,
    "fast": FLAG,
    "noise.p": number(0, 1, many=True),
    "noise.expected": FLAG,
    "noise.frozen": FLAG,
    "noise.schedule": st.sampled_from([None, 3, "", [], [1], True]),
    "model.hidden": whole(many=True) | st.sampled_from([[0], [8, -1], [1.5]]),
    "model.num_outputs": whole(null=True),
    "dataset.train_size": whole(null=True),
    "dataset.test_size": whole(null=True),
    "dataset.val_size": st.integers(max_value=-1) | st.sampled_from(NO_NUMBER),
    "dataset.batch_size": whole(),
    "dataset.eval_batch_size": whole(),
    "dataset.order": one_of("shuffle", "replacement"),
    "dataset.root": TEXT,
    "loss.beta": number(0),
    "optimizer.lr": number(0, open_below=True, many=True),
    "optimizer.momentum": number(0, 1, open_above=True),
    "optimizer.weight_decay": number(0),
    "scheduler.step_size": whole(),
    "scheduler.gamma": number(0, open_below=True),
    "trainer.max_epochs": whole(),
    "trainer.max_steps": whole(-1, most=2**63 - 1),
    "trainer.devices": whole(),
    "trainer.accelerator": one_of("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.precision": st.sampled_from([None, "", 8, 17, "32-false", "half", True, [], math.nan]),
    "trainer.check_val_every_n_epoch": whole(),
    "callbacks.sparsity.every_n_epochs": whole(),
    "callbacks.norms.every_n_epochs": whole(),
    "callbacks.checkpoint.every_n_train_steps": whole(null=True),
    "logger.csv": FLAG,
    "logger.wandb": FLAG,
    "logger.project": TEXT,
    "logger.tags": st.sampled_from([None, "a", 1, [1], [None], {}, [["a"]]]),
    "suggested.hidden": whole(null=True),
    **{f"{part}._target_": st.sampled_from([None, "", "os", ".a", "a.", "a b.c", 3, []]) for part in ("model", "loss")},
    **{part: st.sampled_from([None, 3, "x", [], True]) for part in PARTS if part != "logger"},
    "logger": st.sampled_from([None, 3, "x", True]),  # an empty list of loggers is none
}
LEVELS = ["", "logger.", "stopping.", "suggested.", "suggested.replicas.", "experiment."]


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory):
    """A folder in which nothing is left behind; the signals are as they were."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    folder, before = tmp_path_factory.mktemp("empty"), Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)
    for number, handler in signals.items():
        signal.signal(number, handler)


def run_and_read_refusal(arguments, folder):
    """Return the line that the program prints on wrong arguments: one on stderr, with exit code 2 and no file left."""
    stdout, stderr = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["train.py", *arguments]
    try:
        with redirect_stdout(stdout), redirect_stderr(stderr), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
    assert ended.value.code == 2, stderr.getvalue()
    assert stdout.getvalue() == "" and list(folder.iterdir()) == []
    (line,) = stderr.getvalue().splitlines()
    return line.removeprefix("error: ")


def format_value(value):
    """Return a value as Hydra reads it on a command line."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, list):
        return f"[{','.join(map(format_value, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{format_value(part)}' for key, part in value.items())}}}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


@st.composite
def wrong_overrides(draw):
    """A key, and an override that gives it a wrong value, or one of a section that has no such key."""
    if draw(st.integers(0, 5)) == 0:
        level, name = draw(st.sampled_from(LEVELS)), draw(st.from_regex(r"[a-z]{2}_[a-z]{1,9}", fullmatch=True))
        return f"{level}{name}", f"+{level}{name}=1"
    key = draw(st.sampled_from(sorted(WRONG)))
    return key, f"{'' if key in PARTS else '++'}{key}={format_value(draw(WRONG[key]))}"


@pytest.mark.parametrize("number", [8, pytest.param(500, marks=pytest.mark.slow)])
def test_wrong_values_of_known_keys_and_unknown_keys_are_refused_by_their_names(number, empty_folder):
    @settings(max_examples=number, derandomize=True, database=None, deadline=None, suppress_health_check=HealthCheck)
    @given(wrong_overrides())
    def refuse(case):
        key, override = case
        assert key in run_and_read_refusal([override], empty_folder)

    refuse()


LINES = """
seed= | seed must be
seed=1e3 | seed must be
seed=0x10 | seed must be
seed=9223372036854775808 | seed must be
seeds=10000000000 | seeds must be a whole number in [1, 100000]
seeds=[1,1] | seeds must be
engine=Fused | engine must be
stopping=null | stopping must be a section of keys
stopping.extra_epochs=-1 | stopping.extra_epochs must be
workers=0 | workers must be auto, or a whole number in [1, 1024]
workers=all | workers must be auto, or a whole number in [1, 1024]
workers=2 trainer.devices=2 | workers=2 and trainer.devices=2 do not go together: a worker trains
workers=2 +trainer.num_nodes=2 | workers=2 and trainer.num_nodes=2 do not go together
workers=2 engine=fused | engine=fused cannot run: workers=2 needs engine=stacked or engine=single; set engine=auto
threads=1000000 | threads must be a whole number in [1, 1024], or null
channels_last=yes | channels_last must be true or false
compile=1 | compile must be true or false
arm=none | arm=none: the experiment has no such arm
arm= | arm=: the experiment has no such arm
experiment=fig99 | experiment=fig99: there is no such experiment
experiment= | experiment=: there is no such experiment
noise=3 | noise=3: noise must be the name of one of its options
noise=null | noise=null: noise must be the name of one of its options
noise=resampel | noise=resampel: there is no such noise; did you mean resample?
noise.p=nan | noise.p must be
noise.p=1e400 | noise.p must be
noise.p=[] | noise.p must be
noise.p=[0,[1]] | noise.p must be
noise.p=0,1 | noise.p=0,1: for a run each give -m; a list is written 'noise.p=[1,2]'
noise.schedule=0 | noise.schedule must be a section of keys
noise/schedule=squarewave | noise/schedule=squarewave: there is no such noise/schedule; did you mean square_wave?
noise=transition noise.matrix=3 | noise.matrix must be a list of rows of numbers
noise=transition noise.matrix=[[.nan]] | noise.matrix must be a list of rows of numbers
model=Resnet20 | model=Resnet20: there is no such model; did you mean resnet20?
model.hidden=100000000000000 | model.hidden must be a whole number, at least 1, or a list of them and below 2**31
model.hidden=1e3 | model.hidden must be
model.hidden=[] model=two_layer model.hidden=[0] | model.hidden must be
model=mlp model.hidden=[] | model.hidden must be
model.hiden=3 | model.hiden=3: there is no key or group model.hiden; did you mean model.hidden?
model.output_signs=3 | model.output_signs must be true or false
model.output_scale=0 | model.output_scale must be a number above 0
dataset=[] | dataset=[]: dataset must be the name of one of its options
dataset=cifar | dataset=cifar: there is no such dataset; did you mean cifar10?
dataset=cifar10 dataset.root= | dataset.root must be
dataset.batch_size=null | dataset.batch_size must be
dataset.batch_size=[1,2] | dataset.batch_size must be
dataset.order=Shuffle | dataset.order must be
dataset.train_size=2147483648 | dataset.train_size must be a whole number, at least 1, or null and below 2**31
loss=hinge loss.beta=-1e-300 | loss.beta must be
loss=crossentropy | loss=crossentropy: there is no such loss; did you mean cross_entropy?
optimizer=sdg | optimizer=sdg: there is no such optimizer
optimizer.lr=0.0 | optimizer.lr must be
optimizer.lr=inf | optimizer.lr must be
optimizer.lr=1e-2.0 | optimizer.lr must be
optimizer.momentum=1 | optimizer.momentum must be
optimizer.weight_decay=null | optimizer.weight_decay must be
+optimizer.nesterov=yes | optimizer.nesterov must be true or false
+optimizer.nesterov=true | optimizer.nesterov=true needs optimizer.momentum above 0
optimizer._partial_=false | optimizer._partial_ must be true
+model._partial_=true | model._partial_ must be left out
+scheduler={_target_:a.b,_partial_:false} | scheduler._partial_ must be true
lr=0.1 | lr=0.1: there is no key or group lr; did you mean optimizer.lr?
scheduler=step scheduler._target_=null | scheduler._target_ must be the dotted name of what is to be built, got None
scheduler=step scheduler.step_size=0 | scheduler.step_size must be
scheduler=step scheduler.gamma=nan | scheduler.gamma must be
scheduler=multistep scheduler.milestones=3 | scheduler.milestones must be
scheduler=multistep scheduler.milestones=[a] | scheduler.milestones must be
scheduler=cosine scheduler.T_max=0 | scheduler.T_max must be
trainer.max_epochs=1e3 | trainer.max_epochs must be
trainer.max_epochs=100000000000000000000 | trainer.max_epochs must be
trainer.max_steps=-2 | trainer.max_steps must be
trainer.devices=[0] | trainer.devices must be
trainer.accelerator=tpu | trainer.accelerator must be
trainer.precision=17 | trainer.precision must be
+trainer.gradient_clip_val=nan | trainer.gradient_clip_val must be
+trainer.accumulate_grad_batches=0 | trainer.accumulate_grad_batches must be
+trainer.num_nodes=0 | trainer.num_nodes must be
+trainer.log_every_n_steps=x | trainer.log_every_n_steps must be
trainer.num_sanity_val_steps=-3 | trainer.num_sanity_val_steps must be
trainer.inference_mode=x | trainer.inference_mode must be
trainer.inference_mode=true | trainer.inference_mode must be false, as metrics go on
+trainer.limit_train_batches=2 | trainer.limit_train_batches must be left out: an epoch is a pass over all
+trainer.limit_train_batches=0.5 | trainer.limit_train_batches must be left out: an epoch is a pass over all
+trainer.limit_val_batches=1 | trainer.limit_val_batches must be left out: all samples are evaluated
+trainer.limit_val_batches=0.0 | trainer.limit_val_batches must be left out: all samples are evaluated
+trainer.overfit_batches=2 | trainer.overfit_batches must be left out: the training samples are evaluated too
+trainer.val_check_interval=2 | trainer.val_check_interval must be left out: evaluations are at the end of epochs
+trainer.max_time=00:00:01:00 | trainer.max_time must be left out: the clock must not decide
+callbacks.mine={_target_:noisereg.callbacks.LabelCorruption} | callbacks.mine: the run makes its LabelCorruption of
+callbacks.b={_target_:noisereg.callbacks.FiniteLoss} | callbacks.b: callbacks.finite_loss is a FiniteLoss already
+callbacks.b={_target_:noisereg.callbacks.SparsityMonitor} | callbacks.b: callbacks.sparsity is a SparsityMonitor
callbacks=null | callbacks=null: callbacks must be the name of one of its options
callbacks.sparsity.every_n_epochs=0 | callbacks.sparsity.every_n_epochs must be
callbacks.checkpoint.every_n_train_steps=0.5 | callbacks.checkpoint.every_n_train_steps must be
logger=wandbb | logger=wandbb: there is no such logger; did you mean wandb?
logger.tags=[1] | logger.tags must be
logger.group= | logger.group must be
suggested.replicas.seeds=0 | suggested.replicas.seeds must be
recipe=short2 | recipe=short2: there is no such recipe; did you mean short?
hydra.run.dir= | hydra.run.dir must name a folder
hydra.foo=3 | Could not override 'hydra.foo'
hydra/launcher=ray2 | hydra/launcher=ray2: there is no such hydra/launcher
~seed | seed is missing
~noise.p | noise.p is missing
~trainer.max_epochs | trainer.max_epochs is missing
model.hidden=${nowhere} | model.hidden: Interpolation key 'nowhere' not found
seed=${seed} | seed: Recursive interpolation
noise.p | noise.p: cannot be read
hydra.run=3 | hydra.run=3: Invalid type assigned: int is not a subclass of RunDir
+x | +x: cannot be read
-m noise.p=0,2 | noise.p must be
-m seed=range(0) | -m seed=range(0): this is no run at all
-m model=glob(x*) | -m model=glob(x*): this is no run at all
--config-name nowhere | --config-name=nowhere: there is no nowhere.yaml; name the folder that it lies in
--config-dir /no/such/folder | --config-dir=/no/such/folder: there is no such folder
"""
CASES = [tuple(line.split(" | ")) for line in LINES.strip("\n").splitlines()]


@pytest.mark.parametrize(("line", "refusal"), CASES)
def test_a_wrong_command_line_is_told_in_one_line(line, refusal, empty_folder):
    assert run_and_read_refusal(line.split(" "), empty_folder).startswith(refusal)


@pytest.mark.parametrize(
    "line",
    [
        "seed=-1",
        "experiment=fig99",
        "threads=1000000",
        "optimizer.lr=nan",
        "noise=null",
        "-m noise.p=0,2",
        "loss.bta=1",
    ],
)
def test_the_program_ends_with_2_and_leaves_no_folder(line, tmp_path):
    done = run_program(*line.split(" "), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert done.stdout == "" and list(tmp_path.iterdir()) == []
