"""The questions under sweeps/: each asks what it says at the cost that it says, and every job of it can run."""

import re
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import yaml
from run_program import read_result, run_program
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from noisereg.config.command_line import check_command_line
from noisereg.config.composing import conf_dir
from noisereg.config.run_folder import RunFolder
from noisereg.errors import ConfigError
from noisereg.training.build import build_rule

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "sweeps").glob("*.yaml"))
OF_WANDB = sorted((ROOT / "sweeps" / "wandb").glob("*.yaml"))
P, FINE_P = [0, 0.05, 0.1, 0.2, 0.4], [0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
SEEDS = [0, 1, 2]
CIFAR10, HYPERCUBE, MNIST = (f"noisereg.datasets.{name}" for name in ("Cifar10", "Hypercube", "Mnist"))
AXES = {  # of each question: what differs from job to job, and what is the same in all jobs
    "depth_resnet": ({"model.depth": [20, 32, 44, 56, 110], "noise.p": [0, 0.1], "seed": SEEDS}, {"seeds": 1}),
    "fig7_resnet20": (
        {"seed": SEEDS},
        {
            "dataset._target_": CIFAR10,
            "model.depth": 20,
            "trainer.max_epochs": 200,
            "trainer.precision": "auto",  # bf16-mixed on a GPU that has it
            "channels_last": True,
            "compile": True,
        },
    ),
    "noise_vs_smoothing": (
        {"noise.expected": [False, True]},
        {"noise._target_": "noisereg.noise.Resample", "noise.p": P, "dataset._target_": MNIST, "seeds": 3},
    ),
    "p_cifar10_resnet20": (
        {"noise.p": [0, 0.05, 0.1, 0.2], "seed": SEEDS},
        {"dataset._target_": CIFAR10, "model.depth": 20, "trainer.max_epochs": 200, "seeds": 1},
    ),
    "p_hypercube": ({}, {"dataset._target_": HYPERCUBE, "noise.p": FINE_P, "seeds": 20}),
    "p_mnist": ({}, {"dataset._target_": MNIST, "model.hidden": 600, "noise.p": P, "seeds": 3}),
    "p_vs_learning_rate": (
        {},
        {"optimizer.lr": [1 / 240, 1 / 120, 1 / 60, 1 / 30], "noise.p": P, "model.hidden": 240, "seeds": 10},
    ),
    "p_vs_width": ({"model.hidden": [60, 120, 240, 480, 960]}, {"noise.p": P, "optimizer.lr": 1 / 60, "seeds": 10}),
    "rules_at_equal_rate": (
        {"noise._target_": [f"noisereg.noise.{name}" for name in ("Resample", "Flip", "Transition", "Transition")]},
        {"dataset._target_": MNIST, "noise.expected": False, "seeds": 3},
    ),
}
MANY = {"depth_resnet": pytest.mark.slow}  # jobs, each of which is composed
QUESTIONS = [pytest.param(name, marks=MANY.get(name, ())) for name in AXES]


@cache
def sweep(name):
    """A question with its jobs, which pass the checks of the command line."""
    return check_command_line(["-m", f"+sweeps={name}"])


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def value(settings, key):
    for part in key.split("."):
        settings = settings[part]
    return settings


def number_of(values):
    return len(values) if isinstance(values, list) else 1


def core_hours(settings):
    """The cost of a job, in proportion to three trainings that were measured: their seconds, on so many cores."""
    epochs, model = settings["trainer"]["max_epochs"], settings["model"]
    arms = len(settings["experiment"].get("arms", ["the only one"]))
    if "depth" in model:
        return 50 * 60 / 3600 * epochs / 30 * model["depth"] / 20 * arms
    number = settings["seeds"] * number_of(settings["noise"]["p"]) * number_of(settings["optimizer"]["lr"])
    if settings["dataset"]["_target_"] == MNIST:
        return 2 * 309 / 3600 * number / 9 * epochs / 25 * model["hidden"] / 600
    return 2 * 26 / 3600 * number / 40 * epochs / 1000 * model["hidden"] / 240


def table():
    """The rows of the table of questions, by file."""
    text = (ROOT / "sweeps" / "README.md").read_text()
    rows = re.findall(r"^\| \[(\S+)\]\((\S+)\) \| (.*) \| (\d+) \| ([\d.]+) \| `(.*)` \|$", text, re.MULTILINE)
    assert all(shown == link for shown, link, *_ in rows)
    return {shown: rest for shown, _, *rest in rows}


def head(path):
    """What the comment at the top of a file says: the question, the number of jobs, and the core-hours."""
    found = re.match(r"# @package _global_\n# (.*\?)\n# (\d+) jobs?, ([\d.]+) core-hours: .*\.\n", path.read_text())
    assert found, f"{path} does not begin with its question and its cost"
    return found.groups()


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_jobs_of_a_question_are_all_combinations_of_its_axes(name):
    varied, _ = AXES[name]
    found = [tuple(value(job.composed.settings, key) for key in varied) for job in sweep(name).jobs]
    assert found == list(product(*varied.values()))


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_a_question_holds_fixed_is_the_same_in_all_jobs(name):
    _, same = AXES[name]
    for job in sweep(name).jobs:
        for key, expected in same.items():
            assert value(job.composed.settings, key) == pytest.approx(expected), key


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_jobs_of_a_question_differ_and_have_folders_of_their_own_in_that_of_the_question(name):
    jobs = sweep(name).jobs
    assert sweep(name).folder.parts[-2:] == ("multirun", name)
    assert len({job.folder for job in jobs}) == len({str(job.composed.settings) for job in jobs}) == len(jobs)
    assert {job.folder.parent for job in jobs} == {sweep(name).folder}


@pytest.mark.parametrize("path", [pytest.param(path, marks=MANY.get(path.stem, ()), id=path.stem) for path in FILES])
def test_a_file_begins_with_its_question_and_what_it_costs(path):
    _, jobs, cost = head(path)
    assert int(jobs) == len(sweep(path.stem).jobs)
    assert float(cost) == pytest.approx(
        sum(core_hours(job.composed.settings) for job in sweep(path.stem).jobs), rel=0.05
    )


def test_the_table_says_of_each_file_what_the_file_says():
    commands = {path.name: f"python train.py -m +sweeps={path.stem}" for path in FILES}
    assert table() == {path.name: [*head(path), commands[path.name]] for path in FILES}


def test_every_file_is_a_question_that_is_looked_at_here():
    assert [path.stem for path in FILES] == sorted(AXES)


def test_hydra_finds_the_questions_among_the_options():
    assert (conf_dir() / "sweeps").resolve() == ROOT / "sweeps"


def test_the_rules_that_are_compared_change_equally_many_labels():
    """By hand: one of ten redrawn labels is the old one; half of the digits have no look-alike."""
    shares = {"resample": 9 / 10, "flip": 1, "next_class": 1, "look_alikes": 5 / 10}
    jobs = {job.folder.name: job.composed.settings for job in sweep("rules_at_equal_rate").jobs}
    assert jobs.keys() == {f"rule={name}" for name in shares}
    for name, share in shares.items():
        settings = jobs[f"rule={name}"]
        strengths = settings["noise"]["p"]
        by_hand = [p * share for p in strengths]
        assert by_hand == pytest.approx([0, 0.045, 0.09, 0.18])
        rules = [build_rule(settings, p, num_classes=10) for p in strengths]
        assert [rule.effective_rate(10) for rule in rules] == pytest.approx(by_hand)


def test_a_wrong_value_in_a_file_is_found(tmp_path):
    text = (ROOT / "sweeps" / "p_cifar10_resnet20.yaml").read_text()
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "wrong.yaml").write_text(text.replace("0,0.05", "1.9,0.05"))
    with pytest.raises(ConfigError, match=r"noise.p must be a number in \[0, 1\].*, got 1.9"):
        check_command_line(["-m", "+sweeps=wrong", "--config-dir", str(tmp_path)])


def test_a_value_on_the_command_line_takes_the_place_of_the_values_in_the_file():
    jobs = check_command_line(["-m", "+sweeps=p_cifar10_resnet20", "recipe=short", "seed=7"]).jobs
    assert [job.composed.settings["noise"]["p"] for job in jobs] == [0, 0.05, 0.1, 0.2]
    assert {(job.composed.settings["seed"], job.composed.settings["trainer"]["max_epochs"]) for job in jobs} == {
        (7, 30)
    }


def test_a_question_is_trained_from_one_command(tmp_path):
    tiny = ["trainer.max_epochs=1", "dataset.train_size=8", "dataset.test_size=20", "seeds=1", "logger=none"]
    done = run_program("-m", "+sweeps=p_vs_width", *tiny, "model.hidden=4,8", "engine=blocked", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for hidden in (4, 8):
        result = read_result(tmp_path / "multirun" / "p_vs_width" / f"model.hidden={hidden}")
        assert result["status"] == "finished"
        assert [replica["p"] for replica in result["replicas"]] == P
        assert result["config"]["model"]["hidden"] == hidden


def words_of(path):
    """The words behind `train.py` of every job of a W&B grid, as its agent writes them."""
    grid = yaml.safe_load(path.read_text())
    values = [part.get("values", [part.get("value")]) for part in grid["parameters"].values()]
    for chosen in product(*values):
        given = {name: {"value": one} for name, one in zip(grid["parameters"], chosen, strict=True)}
        words = create_sweep_command_args({"args": given})
        command = create_sweep_command(list(grid["command"]))
        assert command[:3] == ["${env}", "${interpreter}", "${program}"]
        yield [word for part in command[3:] for word in words[re.fullmatch(r"\$\{(\w+)\}", part)[1]]]


@pytest.mark.parametrize("path", OF_WANDB, ids=lambda path: path.stem)
def test_every_job_of_a_wandb_sweep_passes_the_checks(path):
    for words in words_of(path):
        assert isinstance(check_command_line(words), RunFolder)


@pytest.mark.parametrize("path", OF_WANDB, ids=lambda path: path.stem)
def test_a_wandb_sweep_runs_our_program_over_a_grid(path):
    grid = yaml.safe_load(path.read_text())
    assert grid["method"] == "grid"
    assert (ROOT / grid["program"]).is_file()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p_hypercube", {f"outputs/p_hypercube/p{p}" for p in FINE_P}),
        ("p_resnet20", {f"outputs/p_resnet20/p{p}_seed{seed}" for p in (0, 0.05, 0.1, 0.2) for seed in SEEDS}),
    ],
)
def test_a_job_of_a_wandb_sweep_has_a_folder_that_is_named_after_its_values(name, expected):
    found = []
    for words in words_of(ROOT / "sweeps" / "wandb" / f"{name}.yaml"):
        given = dict(word.split("=", 1) for word in words)
        found.append(re.sub(r"\$\{([\w.]+)\}", lambda key, given=given: given[key[1]], given["hydra.run.dir"]))
    assert len(found) == len(expected)
    assert set(found) == expected


def test_a_wandb_job_with_a_wrong_value_is_found(tmp_path):
    text = (ROOT / "sweeps" / "wandb" / "p_hypercube.yaml").read_text()
    (tmp_path / "wrong.yaml").write_text(text.replace("values: [0, 0.05", "values: [1.9, 0.05"))
    with pytest.raises(ConfigError, match=r"noise.p must be a number in \[0, 1\], .* got 1.9"):
        check_command_line(next(words_of(tmp_path / "wrong.yaml")))


@pytest.mark.parametrize("path", OF_WANDB, ids=lambda path: path.stem)
def test_a_wandb_sweep_asks_a_question_of_hydra_at_the_same_cost(path):
    readme = (ROOT / "sweeps" / "README.md").read_text()
    row = re.search(rf"^\| \[wandb/{path.name}\]\(\S+\) \| \[(\S+)\]\(\S+\) \| (.*) \| (.*) \|$", readme, re.MULTILINE)
    asks, jobs, cost = row.groups()
    question, _, same_cost = head(ROOT / "sweeps" / asks)
    assert path.read_text().startswith(f"# {question}\n#\n# {jobs} jobs, {cost} core-hours: ")
    assert cost == same_cost
    assert int(jobs) == len(list(words_of(path)))
