"""Real processes: kills, signals, and stores that do not work."""

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.errors import DataError, Interrupted
from scratchformer.params import load_params
from scratchformer.tracking import stage_run
from scratchformer.tracking.execution import (
    Execution,
    ProcessId,
    _is_dvc,
    current_execution,
    this_process,
)
from scratchformer.tracking.live import events, writer

from .conftest import Start, Workspace

READY = "print('ready', flush=True); time.sleep(60)"


def wait_for(happened: Callable[[], bool]) -> None:
    """Return once it has happened; red after a minute."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_status(workspace: Workspace, count: int = 1) -> list[str]:
    """Statuses of all runs once `count` of them exist and none is RUNNING."""
    statuses: list[str] = []

    def all_ended() -> bool:
        with sqlite3.connect(workspace.path / "mlflow.db", timeout=30) as database:
            statuses[:] = [row[0] for row in database.execute("select status from runs")]
        return len(statuses) >= count and "RUNNING" not in statuses

    wait_for(all_ended)
    return statuses


def test_a_killed_stage_is_told_as_killed_at_once_and_then_continued(
    workspace: Workspace, start: Start
) -> None:
    process = start("for s in range(1, 6): run.log_metrics({'loss': s}, s)\n" + READY)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    # The writer of the killed stage takes this lock first of all, before it imports MLflow for
    # seconds. Only then comes the second stage: on a busy machine its writer might overtake.
    wait_for(lambda: any(workspace.path.glob("mlflow.db.train_scratch-*.lock")))
    again = start("for s in range(3, 9): run.log_metrics({'loss': s * 10}, s)")
    assert again.communicate(timeout=120) == ("done\n", "")
    runs = workspace.runs()
    killed, finished = runs.parents()
    assert (killed.info.status, finished.info.status) == ("KILLED", "FINISHED")
    assert runs.children(killed) == {}
    (child,) = runs.children(finished).values()
    expected = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0), (6, 60.0), (7, 70.0), (8, 80.0)]
    assert runs.curve(child, "loss") == expected
    assert child.data.tags["scratchformer.continued"] == "1"


class Finished:
    """Stands for the writer, and keeps what it is told at the end."""

    def finish(self, status: str, wait: float) -> None:
        self.last = (status, wait)


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (DataError("bad rows"), "FAILED"),
        (Interrupted("stopped", signal.SIGTERM), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(4), "FAILED"),
        (None, "FINISHED"),
    ],
)
def test_how_a_stage_ends_is_told_and_passed_on(
    ending: BaseException | None, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Finished()
    monkeypatch.setattr(events, "_start", lambda stage, params: told)
    params = load_params(DEFAULT_PARAMS)
    with pytest.raises(type(ending)) if ending else nullcontext(), stage_run("prepare", params):
        if ending:
            raise ending
    # One that failed is not kept waiting by MLflow.
    assert told.last == (status, 1.5 if ending else 120)


def test_a_stage_that_ends_badly(workspace: Workspace, start: Start) -> None:
    process = start("run.log_metrics({'loss': 1.0}, 1)\nraise DataError('bad rows')")
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert wait_for_status(workspace, 2) == ["FAILED", "FAILED"]


def test_ctrl_c_reaches_the_stage_and_not_its_writer(workspace: Workspace, start: Start) -> None:
    process = start(READY)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    asked = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert time.monotonic() - asked < 10
    assert wait_for_status(workspace, 2) == ["KILLED", "KILLED"]


def damaged(path: Path) -> None:
    path.write_bytes(b"this is no database, but it is long enough to have a header" * 100)


def of_another_release(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("update alembic_version set version_num = 'from the future'")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [damaged, of_another_release, a_folder])
def test_a_broken_store_is_one_line(
    workspace: Workspace, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's side, in this process; the stage shows the line as a warning (next test)."""
    spoil(workspace.path / "mlflow.db")
    begin = {
        "event": "begin", "stage": "train_scratch", "params": workspace.params,
        "workspace": str(workspace.path), "process": asdict(this_process()),
        "execution": asdict(current_execution()),
    }  # fmt: skip
    monkeypatch.setattr(sys, "stdin", StringIO(json.dumps(begin) + "\n"))
    monkeypatch.setattr(sys, "stdout", told := StringIO())
    writer.main()
    (line,) = told.getvalue().splitlines()
    assert line.startswith("MLflow does not show this stage: ")


def test_a_locked_store_is_one_warning(workspace: Workspace, start: Start) -> None:
    with sqlite3.connect(workspace.path / "mlflow.db") as database:
        database.execute("begin exclusive")
        process = start("pass")
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "done\n")
    assert "database is locked" in err and err.count("\n") == 1


def test_without_mlflow_there_is_one_warning(
    workspace: Workspace, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "mlflow.py").write_text("raise ImportError('No module named mlflow')")
    process = start("run.log_metrics({'loss': 1.0}, 1)", PYTHONPATH=str(tmp_path / "hidden"))
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "done\n")
    assert "No module named mlflow" in err and err.count("\n") == 1


def test_a_writer_that_dies_does_not_stop_the_stage(workspace: Workspace, start: Start) -> None:
    process = start(
        "import psutil\n"
        "(writer,) = psutil.Process().children()\n"
        "writer.kill(); time.sleep(0.2)\n"
        "for s in range(20000): run.log_metrics({'loss': s}, s)"
    )
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "done\n")
    assert err == "warning: MLflow does not show this stage: its writer ended with code -9\n"


def test_a_full_pipe_stops_no_stage_and_loses_nothing(workspace: Workspace, start: Start) -> None:
    """The writer stands still while the stage says more than a pipe holds (64 KB on Linux)."""
    process = start(
        "import psutil\n"
        "(writer,) = psutil.Process().children()\n"
        "writer.suspend()\n"
        "for s in range(2000): run.log_metrics({'loss': s}, s)\n"
        "run.log_table('long', [{'text': 'x' * 200_000}])\n"
        "for s in range(2000, 2010): run.log_metrics({'loss': s}, s)\n"
        "writer.resume()"
    )
    assert process.communicate(timeout=120) == ("done\n", "")
    runs = workspace.runs()
    (child,) = runs.children(runs.parents()[0]).values()
    assert runs.curve(child, "loss") == [(s, float(s)) for s in range(2010)]
    assert runs.files(child) == {"tables/long.json"}


def test_two_stages_that_create_the_store_at_the_same_time(
    workspace: Workspace, start: Start
) -> None:
    (workspace.path / "mlflow.db").unlink()
    both = [start("run.log_metrics({'loss': 1.0}, 1)") for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=240) == ("done\n", "")
    assert [run.info.status for run in workspace.runs().parents()] == ["FINISHED"] * 2


def test_events_cost_the_stage_little_and_the_environment_cannot_redirect_them(
    workspace: Workspace, start: Start
) -> None:
    process = start(
        "spent = time.process_time()\n"
        "for s in range(2000): run.log_metrics({'loss': s, 'norm': 1.0, 'rate': 0.1}, s)\n"
        "print((time.process_time() - spent) / 2000 < 5e-4, 'mlflow' in sys.modules)",
        MLFLOW_RUN_ID="0" * 32,
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        MLFLOW_EXPERIMENT_NAME="other",
    )
    assert process.communicate(timeout=120) == ("True False\ndone\n", "")
    runs = workspace.runs()
    (parent,) = runs.parents()
    (child,) = runs.children(parent).values()
    assert parent.info.status == "FINISHED"
    assert len(runs.curve(child, "loss")) == 2000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/venv/bin/python", "/venv/bin/dvc", "repro"], True),
        (["dvc", "exp", "run"], True),
        (["C:\\Scripts\\dvc.exe", "repro"], os.name == "nt"),
        (["/usr/bin/python3", "-m", "dvc", "exp", "exec-run"], True),
        (["python", "-m", "scratchformer.stages.prepare"], False),
        (["vim", "/home/me/dvc.yaml"], False),
        (["bash", "-c", "cd x && dvc repro"], False),
        ([], False),
    ],
)
def test_which_command_lines_are_dvc(words: list[str], expected: bool) -> None:
    assert _is_dvc(words) is expected


def test_a_stage_by_hand_is_an_execution_of_its_own() -> None:
    execution = current_execution()
    assert execution.process == this_process()
    assert execution.process.alive()
    assert execution.experiment_name is None


def test_experiments_of_one_process_are_told_apart() -> None:
    me = this_process()
    keys = {Execution(me, "dvc", name, None).key for name in (None, "a", "b")}
    assert len(keys) == 3


def test_a_number_that_was_given_again_is_another_process() -> None:
    me = this_process()
    assert not ProcessId(me.host, me.pid, me.started - 60).alive()


def test_a_zombie_is_dead() -> None:
    pid = os.fork() if hasattr(os, "fork") else pytest.skip("needs fork")
    if pid == 0:
        os._exit(0)
    import psutil

    started = psutil.Process(pid).create_time()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert not ProcessId(this_process().host, pid, started).alive()
    os.waitpid(pid, 0)
