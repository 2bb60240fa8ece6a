"""The MLflow run: on the server or in the database that MLflow itself would take."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas

from noisereg.config.same_run import identity, result_settings
from noisereg.errors import ConfigError
from noisereg.runs.run_logger import RunDescription, kept_text, numbers_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MOST_METRICS, _MOST_PARAMS = 1000, 100  # that MLflow takes in one call


def open_mlflow_run(described: RunDescription) -> tuple["MlflowRun", str]:
    """Open an MLflow run, or go on with the one that the run's folder names in its `mlflow.run`.

    `MLFLOW_TRACKING_URI` says where; without it MLflow takes `mlflow.db` in the working directory. The project is the
    experiment.

    Raises:
        ConfigError: if the run of the folder is not there.
    """
    import mlflow  # noqa: PLC0415 - an extra, and slow to load

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)  # each step in making a new database is a line otherwise
    client = mlflow.MlflowClient()
    path = described.folder / "mlflow.run"
    is_new = not path.exists()
    run_id = kept_text(path, lambda: _create_run(client, described))
    try:
        client.update_run(run_id, status="RUNNING")
    except mlflow.exceptions.MlflowException as error:
        raise ConfigError(
            f"logger=mlflow: {client.tracking_uri} does not have the run that {path} names ({error}); set "
            "MLFLOW_TRACKING_URI as before, or delete that file for a new one"
        ) from None
    if is_new:
        _log_config(client, run_id, described)
    return MlflowRun(client, run_id), f"MLflow  {run_id} in {client.tracking_uri}"


class MlflowRun:
    """Log to an MLflow run.

    MLflow takes no = in a name, so `test/error/p=0.2` is `test/error/p:0.2` there.
    """

    key = "logger.mlflow"

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client, self._id = client, run_id

    def log(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Write the values of a step."""
        self._log({"epoch": epoch, **values}, step)

    def finish(
        self, summary: Mapping[str, Any], *, replicas: pandas.DataFrame, figures: Sequence[Path], step: int
    ) -> None:
        """Write the numbers of the end, the table of the replicas and the figures, and end the run."""
        self._log(numbers_of(summary), step)
        self._client.log_text(self._id, replicas.to_csv(index=False), "replicas.csv")
        for path in figures:
            self._client.log_artifact(self._id, str(path), "figures")
        self._client.set_terminated(self._id, "FINISHED")

    def fail(self, *, stopped: bool) -> None:
        """End the run as failed, or as killed."""
        self._client.set_terminated(self._id, "KILLED" if stopped else "FAILED")

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415 - an extra

        now = int(1000 * time.time())
        metrics = [Metric(name.replace("=", ":"), float(value), now, int(step)) for name, value in values.items()]
        for first in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[first : first + _MOST_METRICS])


def _create_run(client: "MlflowClient", described: RunDescription) -> str:
    """Create a run in the experiment that is named after the project, and return its id."""
    experiment = client.get_experiment_by_name(described.project)
    if experiment is None:
        with suppress(Exception):  # another job of the sweep may be quicker; what else is wrong shows below
            client.create_experiment(described.project)
        experiment = client.get_experiment_by_name(described.project)
    tags = {
        "mlflow.runName": described.name,
        "identity": identity(described.config),
        "group": described.group or "",
        "tags": ",".join(described.tags),
    }
    return str(client.create_run(experiment.experiment_id, tags=tags).info.run_id)


def _log_config(client: "MlflowClient", run_id: str, described: RunDescription) -> None:
    """Write what can change a result as parameters, and the whole configuration as a file."""
    from mlflow.entities import Param  # noqa: PLC0415 - an extra

    client.log_dict(run_id, described.config, "config.yaml")
    params = [Param(key, str(value)) for key, value in result_settings(described.config).items()]
    for first in range(0, len(params), _MOST_PARAMS):
        client.log_batch(run_id, params=params[first : first + _MOST_PARAMS])
