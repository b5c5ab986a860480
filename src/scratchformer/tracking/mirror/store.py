"""The SQLite store of the checkout: `mlflow.db` beside `mlartifacts/`, both outside Git and DVC.

MLflow is imported when a store is opened and not before, because that takes seconds.
"""

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from scratchformer.base.errors import ParamsError
from scratchformer.tracking.execution import ProcessId
from scratchformer.tracking.mirror.location import follow

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"

_LOCK_PATIENCE = 60.0  # seconds; held while the tables are made, or a run is created or closed
_WRITER_PATIENCE = 60.0  # seconds
_PER_BATCH = 100  # parameters or tags that MLflow takes in one call
_METRICS_PER_BATCH = 1000
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


def writer_lock(workspace: Path, stage: str, work: str) -> FileLock:
    """Held by a writer for as long as it lives; `work` is the key of what its stage does.

    A stage that is started right after the same work was killed finds the killed run complete and
    closed, because its writer waits here for the earlier one, which has at most seconds to live.
    The first digit of the key tells other work apart well enough, and the files stay few.
    """
    return FileLock(workspace / f"{DATABASE}.{stage}-{work[0]}.lock", timeout=_WRITER_PATIENCE)


def quiet_environment() -> dict[str, str]:
    """This process's environment for a process that imports MLflow: nothing that would redirect
    it to another store or run, no news of migrations, no news to its makers."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return kept | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
        "GIT_PYTHON_REFRESH": "quiet",
    }


def store_uri(workspace: Path) -> str:
    """Where MLflow finds the store of a checkout.

    Raises:
        ParamsError: the path has a sign that MLflow and SQLAlchemy read in different ways.
    """
    if not {"%", "?"}.isdisjoint(str(workspace)):
        raise ParamsError(f"MLflow cannot keep a store below {workspace}: it has a % or ? in it")
    return f"sqlite:///{(workspace / DATABASE).as_posix()}"


class Store:
    """One experiment of the store, with the few calls that the mirror is made of."""

    def __init__(self, workspace: Path, experiment: str) -> None:
        """Open or create the store.

        Raises:
            sqlite3.Error: the database is damaged, locked or not writable.
            ImportError: MLflow is not installed.
            mlflow.exceptions.MlflowException: the store belongs to another release of MLflow.
        """
        database = workspace / DATABASE
        self.name = experiment
        self.lock = FileLock(workspace / f"{DATABASE}.lock", timeout=_LOCK_PATIENCE)
        # MLflow retries for minutes on a database that it cannot open; SQLite says so at once.
        new = not _has_tables(database)
        artifacts = workspace / ARTIFACTS
        if not new:
            with self.lock:
                follow(database, artifacts)
        # Importing MLflow takes seconds, on a busy machine many: nobody may wait for that.
        from mlflow.tracking import MlflowClient

        with self.lock if new else nullcontext():
            self.client = MlflowClient(tracking_uri=store_uri(workspace))
        with self.lock:
            found = self.client.get_experiment_by_name(experiment)
            self.experiment: str = (
                found.experiment_id
                if found
                else self.client.create_experiment(
                    experiment,
                    artifact_location=artifacts.as_uri(),
                    # Opens the pages on training, not those on language-model applications.
                    tags={"mlflow.experimentKind": "custom_model_development"},
                )
            )

    def search(self, *status: str, tags: Mapping[str, str] | None = None) -> list[Any]:
        """Runs in one of the given states (none: any) that carry all `tags`, the newest first."""
        conditions = [f"tags.`{key}` = '{value}'" for key, value in (tags or {}).items()]
        runs: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment],
                " and ".join(conditions),
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            runs += [run for run in page if not status or run.info.status in status]
            token = page.token
            if not token:
                return runs

    def create_run(self, name: str, tags: Mapping[str, str], start: float | None = None) -> str:
        """A new run in status RUNNING; `start` in seconds since the epoch."""
        run = self.client.create_run(
            self.experiment,
            run_name=name,
            tags=dict(tags),
            start_time=int((start or time.time()) * 1000),
        )
        return str(run.info.run_id)

    def log_params(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Parameters, which MLflow lets nobody change afterwards."""
        from mlflow.entities import Param

        items = [Param(_name(key), str(value)) for key, value in values.items()]
        for start in range(0, len(items), _PER_BATCH):
            self.client.log_batch(run_id, params=items[start : start + _PER_BATCH])

    def log_tags(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Tags; a later value replaces an earlier one."""
        from mlflow.entities import RunTag

        items = [RunTag(_name(key), str(value)) for key, value in values.items()]
        for start in range(0, len(items), _PER_BATCH):
            self.client.log_batch(run_id, tags=items[start : start + _PER_BATCH])

    def log_points(self, run_id: str, points: Iterable[tuple[str, float, int, int]]) -> None:
        """Metrics as (name, value, step, milliseconds since the epoch)."""
        from mlflow.entities import Metric

        items = [Metric(_name(key), value, at, step) for key, value, step, at in points]
        for start in range(0, len(items), _METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=items[start : start + _METRICS_PER_BATCH])

    def log_files(self, run_id: str, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder under its own name, into the run below `folder`."""
        if path.is_dir():
            below = f"{folder}/{path.name}" if folder else path.name
            self.client.log_artifacts(run_id, str(path), below)
        else:
            self.client.log_artifact(run_id, str(path), folder)

    def set_status(self, run_id: str, status: str) -> None:
        """RUNNING, or an end: FINISHED, FAILED, KILLED."""
        if status == "RUNNING":
            self.client.update_run(run_id, status)
        else:
            self.client.set_terminated(run_id, status)


def process_tags(process: ProcessId) -> dict[str, str]:
    """The tags by which a later start finds out that the process of a run is dead."""
    return {
        "scratchformer.host": process.host,
        "scratchformer.pid": str(process.pid),
        "scratchformer.started": repr(process.started),
    }


def process_of(run: Any) -> ProcessId | None:
    """The process that a run's tags name; None for runs that were made otherwise."""
    tags = run.data.tags
    if "scratchformer.pid" not in tags:
        return None
    return ProcessId(
        tags["scratchformer.host"],
        int(tags["scratchformer.pid"]),
        float(tags["scratchformer.started"]),
    )


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of `values` that are numbers; a truth value is none."""
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _name(key: str) -> str:
    """A name that MLflow accepts."""
    return _NOT_IN_NAMES.sub("_", key)[:250]


def _has_tables(database: Path) -> bool:
    """Whether MLflow has written to this file; sqlite3.Error if nobody can."""
    with closing(sqlite3.connect(database, timeout=5.0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        query = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
        (tables,) = connection.execute(query).fetchone()
        connection.execute("ROLLBACK")
    return bool(tables)
