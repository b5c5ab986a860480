"""Workspaces with a real MLflow store, and stages mirrored in this process or in their own."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from tests.committed import DEFAULT_PARAMS
from tests.forked import ForkedPython

from scratchformer.params import load_params
from scratchformer.tracking.execution import Execution, ProcessId, this_process
from scratchformer.tracking.live import writer
from scratchformer.tracking.mirror.store import DATABASE, Store

ROOT = Path(__file__).parents[2]


def metrics_json(wer: float, valid: float = 0.5) -> dict[str, Any]:
    """The least that reports/metrics.json holds."""
    scratch = {"task": "seq2seq", "n": 8, "groups": 8, "wer": wer, "valid": {"wer": valid}}
    return {
        "scratch": scratch,
        "method": {"confidence": 0.95, "resamples": 100, "interval": "BCa"},
    }


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("template") / DATABASE
    MlflowClient(tracking_uri=f"sqlite:///{path}").get_experiment_by_name("x")
    return path


class Runs:
    """What a store shows."""

    def __init__(self, workspace: Path) -> None:
        self.store = Store(workspace, "scratchformer")

    def parents(self) -> list[Any]:
        """The pipeline runs, the oldest first."""
        return self.store.search(tags={"scratchformer.kind": "pipeline"})[::-1]

    def children(self, parent: Any) -> dict[str, Any]:
        """Name → run of a pipeline run's stages."""
        found = self.store.search(tags={"mlflow.parentRunId": parent.info.run_id})
        names = [run.info.run_name for run in found]
        assert len(set(names)) == len(names), names
        return {run.info.run_name: run for run in found}

    def curve(self, run: Any, name: str) -> list[tuple[int, float]]:
        """(step, value) of every point of a metric, as stored."""
        points = self.store.client.get_metric_history(run.info.run_id, name)
        return sorted((point.step, point.value) for point in points)

    def files(self, run: Any, folder: str | None = None) -> set[str]:
        """Paths of all artifacts of a run."""
        found = set()
        for item in self.store.client.list_artifacts(run.info.run_id, folder):
            found |= self.files(run, item.path) if item.is_dir else {item.path}
        return found


class Workspace:
    """A folder in which stages are mirrored without a pipeline."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.params = load_params(path / "params.yaml").model_dump(mode="json")
        self._count = 0
        self.told: list[str] = []

    def process(self, alive: bool = False) -> ProcessId:
        """A process: this one, or one that has never been."""
        self._count += 1
        return this_process() if alive else ProcessId(this_process().host, 2**22 + self._count, 1.0)

    def mirror(
        self,
        stage: str,
        *events: dict[str, Any],
        status: str | None = "FINISHED",
        execution: str = "one",
        process: ProcessId | None = None,
    ) -> None:
        """What the writer does for one stage; `status` None is a stage that vanished."""
        process = process or self.process()
        owner = Execution(self.process(), f"dvc repro {execution}", execution, None)
        owner = Execution(ProcessId("host", 1, 1.0), owner.command, execution, None)
        first = {
            "stage": stage,
            "params": self.params,
            "workspace": str(self.path),
            "process": asdict(process),
            "execution": asdict(owner),
        }
        queue: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        for event in events:
            queue.put(dict(event))
        if status:
            queue.put({"event": "finish", "status": status})
        queue.put(None)
        writer.mirror(first, queue, lambda what, error: self.told.append(f"{what}: {error}"))

    def runs(self) -> Runs:
        return Runs(self.path)


@pytest.fixture
def workspace(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    shutil.copy(empty_database, tmp_path / DATABASE)
    shutil.copy(DEFAULT_PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return Workspace(tmp_path)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(workspace: Workspace) -> Start:
    """Start a process that runs the given lines inside `stage_run("train_scratch", …)`: a fork,
    unless its environment differs."""

    def started(body: str, **environment: str) -> "subprocess.Popen[str]":
        program = (
            "import os, signal, sys, time\n"
            "from pathlib import Path\n"
            "from scratchformer.params import load_params\n"
            "from scratchformer.tracking import stage_run\n"
            "from scratchformer.base.errors import DataError, Interrupted\n"
            "with stage_run('train_scratch', load_params()) as run:\n"
            + "".join(f"    {line}\n" for line in body.splitlines())
            + "print('done', flush=True)\n"
        )
        import os

        popen = subprocess.Popen if environment else ForkedPython
        return popen(
            [sys.executable, "-c", program], cwd=workspace.path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment},
        )  # fmt: skip

    return started


def points(*steps: int, **values: float) -> list[dict[str, Any]]:
    """Events of a curve: value = step unless given."""
    values = values or {"loss": -1.0}
    return [
        {"event": "metrics", "step": step, "at": 1000 * step,
         "values": {name: float(step) if value < 0 else value for name, value in values.items()}}
        for step in steps
    ]  # fmt: skip
