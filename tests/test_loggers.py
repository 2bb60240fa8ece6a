"""What TensorBoard, Trackio and MLflow have of a run, read back by these libraries themselves."""

import csv
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from statistics import mean, stdev

import pytest
from interruptions import INTERRUPTION
from run_program import read_result, run_program

HERE = Path(__file__).parent
TINY = ["trainer.max_epochs=6", "callbacks.sparsity.every_n_epochs=2", "dataset.train_size=20", "dataset.test_size=50"]
FOUR = [*TINY, "noise.p=[0,0.5]", "seeds=2", "logger.project=tried", "hydra.run.dir=run"]
T_OF_ONE_DEGREE = 12.7062047
NAMES = {"step", "epoch", "p", "seed"}
READERS = {
    "tensorboard": """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
files = EventAccumulator("run/tensorboard", size_guidance={"scalars": 0}).Reload()
rows = {tag: [(event.step, event.value) for event in files.Scalars(tag)] for tag in files.Tags()["scalars"]}
others = {"texts": sorted(files.Tags()["tensors"]), "pictures": sorted(files.Tags()["images"])}
""",
    "trackio": """
import trackio
from trackio.sqlite_storage import SQLiteStorage
(run,) = trackio.Api().runs("tried")
rows, last = {}, {}
for row in SQLiteStorage.get_logs("tried", run.name, run_id=run.id):
    for name, value in row.items():
        if isinstance(value, int | float) and name != "step":
            rows.setdefault(name, []).append((row["step"], value))
    last |= row
others = {"config": run.config["noise"]["p"], "table": last["replicas"]["_type"], "group": run.config["logger"]}
""",
    "mlflow": """
import mlflow
client = mlflow.MlflowClient()
(run,) = client.search_runs([client.get_experiment_by_name("tried").experiment_id])
rows = {
    name.replace(":", "="): [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
    for name in run.data.metrics
}
others = {
    "status": run.info.status,
    "p": run.data.params["noise.p"],
    "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
}
""",
}
OTHERS = {
    "tensorboard": {
        "texts": ["config/text_summary", "replicas/text_summary"],
        "pictures": ["figures/against_p", "figures/curves"],
    },
    "trackio": {"config": [0, 0.5], "table": "trackio.table"},
    "mlflow": {"status": "FINISHED", "p": "[0, 0.5]", "files": ["config.yaml", "figures", "replicas.csv"]},
}
LOST_BY_A_KILL = {"trackio": {40}}  # it writes twice a second, and the kill came within the half second
INSTALLED = [name for name in READERS if find_spec(name)]


def needs(name):
    missing = pytest.mark.skipif(name not in INSTALLED, reason=f"needs {name}: pip install 'noisereg[{name}]'")
    return pytest.param(name, marks=missing)


def environment(cwd):
    """Variables by which all that the loggers write lies in a folder of the test."""
    return {"TRACKIO_DIR": str(cwd / "trackio"), "MLFLOW_TRACKING_URI": f"sqlite:///{cwd}/mlflow.db"}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """A run with every logger that is installed, killed after its second evaluation, and then finished."""
    if not INSTALLED:
        pytest.skip("needs a logger: pip install 'noisereg[tensorboard]'")
    cwd = tmp_path_factory.mktemp("loggers")
    for moment, code in (("epoch 2 SIGKILL", -9), ("never 0 SIGTERM", 0)):
        given = [*FOUR, *INTERRUPTION, f"logger=[{','.join(INSTALLED)}]", "engine=stacked"]
        variables = {"PYTHONPATH": str(HERE), "INTERRUPT_AT": moment, **environment(cwd)}
        done = run_program(*given, cwd=cwd, **variables)
        assert done.returncode == code, done.stdout + done.stderr
    return cwd


def read(name, cwd):
    """What a logger has of the only run there, by its own library: values by step and name, and what else it has."""
    script = "import json\n" + READERS[name] + "print(json.dumps([rows, others], default=str))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={**os.environ, **environment(cwd)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def expected(folder):
    """The means and ends of every metric in metrics.csv, by name and step."""
    lines = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    lines.sort(key=lambda line: (int(line["step"]), float(line["p"])))
    found = {}
    for (step, p), rows in groupby(lines, key=lambda line: (int(line["step"]), float(line["p"]))):
        cell = list(rows)
        for metric in set(cell[0]) - NAMES:
            values = [float(line[metric]) for line in cell if line[metric]]
            if len(values) == 2:
                half = T_OF_ONE_DEGREE * stdev(values) / 2**0.5
                ends = {"": mean(values), "/low": mean(values) - half, "/high": mean(values) + half}
                for end, value in ends.items():
                    found.setdefault(f"{metric}/p={p:g}{end}", {})[step] = value
    return found


def as_in_csv(by_step):
    """Allow for the rounding of metrics.csv: an end of an interval may be near 0 where the interval is wide."""
    widest = max(abs(value) for value in by_step.values())
    return {step: pytest.approx(value, rel=1e-5, abs=1e-6 + 1e-5 * widest) for step, value in by_step.items()}


@pytest.mark.parametrize("name", [needs(name) for name in READERS])
def test_a_logger_has_the_means_and_bands_of_metrics_csv_also_of_a_run_that_was_killed(name, interrupted):
    rows, others = read(name, interrupted)
    values = expected(interrupted / "run")
    assert len(values) > 20
    for metric, by_step in values.items():
        logged = {step for step, _ in rows[metric]}
        assert logged | LOST_BY_A_KILL.get(name, set()) == set(by_step), metric
        for step, value in rows[metric]:  # what the resumed run logged a second time is what was there
            assert value == as_in_csv(by_step)[step], metric
    replicas = read_result(interrupted / "run")["replicas"]
    for p in (0, 0.5):
        ends = [replica["best/test/error"] for replica in replicas if replica["p"] == p]
        assert [value for _, value in rows[f"final/best/test/error/p={p:g}"]] == [pytest.approx(mean(ends), rel=1e-5)]
    assert others == others | OTHERS[name]


def test_a_logger_of_the_users_own_is_given_the_same_names(tmp_path):
    own = "+logger.own.mine={_target_: lightning.pytorch.loggers.CSVLogger, save_dir: own, name: a, version: b}"
    done = run_program(*FOUR, "logger=csv", own, "trust=[lightning]", "engine=fused", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "logger  mine: CSVLogger" in done.stdout
    lines = list(csv.DictReader((tmp_path / "own/a/b/metrics.csv").read_text().splitlines()))
    for metric, by_step in expected(tmp_path / "run").items():
        logged = {int(line["step"]): float(line[metric]) for line in lines if line[metric]}
        assert logged == as_in_csv(by_step), metric
    assert "noise" in (tmp_path / "own/a/b/hparams.yaml").read_text()


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        (["+logger.own.mine={_target_: pathlib.Path}"], "logger.own.mine._target_=pathlib.Path: nothing can be built"),
        (["+logger.own.mine={_target_: lightning.pytorch.Callback}", "trust=[lightning]"], "logger.own.mine: Callback"),
        (["+logger.own.mine={}"], "logger.own.mine._target_ is missing"),
        (["logger=[csv,none]"], "logger=[csv,none]: none stands alone"),
        (["logger=[csv,tensorbord]"], "logger=tensorbord: there is no such logger; did you mean tensorboard?"),
    ],
)
def test_a_wrong_logger_is_refused_in_one_line(given, refusal, tmp_path):
    done = run_program(*FOUR, *given, cwd=tmp_path, WANDB_MODE="disabled")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {refusal}")
    assert not (tmp_path / "run" / "result.json").exists()
