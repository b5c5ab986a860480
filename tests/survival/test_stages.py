"""The stage train_scratch as a process, under DVC and alone, with its MLflow run: kills, signals,
rivals. Whatever happened, the bytes are those of a training that nobody disturbed, and MLflow shows
one run with one value per (metric, step)."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML
from tests.tracking.conftest import Runs
from tests.training.conftest import make_stage_folder

from scratchformer.files import sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = 1200
STAGE = [sys.executable, "-m", "scratchformer.stages.train_scratch"]
REPRO = [sys.executable, "-m", "dvc", "repro", "--quiet"]
PIPELINE = f"""
stages:
  train_scratch:
    cmd: {" ".join(STAGE)}
    deps: [data/tokenized/scratch, models/tokenizers/scratch]
    params: [run, train_scratch]
    outs: [models/scratch, reports/history/scratch]
"""
FILES = ("models/scratch/model.safetensors", "models/scratch/training.json",
         "reports/history/scratch/train.csv", "reports/history/scratch/valid.csv")  # fmt: skip


class Folder:
    """A working folder with DVC, an MLflow store, and tokens for train_scratch."""

    def __init__(self, path: Path, tracked: bool) -> None:
        self.path = path
        params = make_stage_folder(path, max_steps=STEPS, validate_every=200, log_every=10)
        values = params.model_dump(mode="json")
        values["tracking"]["enabled"] = tracked
        with (path / "params.yaml").open("w") as file:
            YAML().dump(values, file)

    def start(self, command: list[str], **changes: str) -> "subprocess.Popen[str]":
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DVC")}
        environment = kept | changes
        return subprocess.Popen(
            command, cwd=self.path, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, command: list[str], code: int = 0, **changes: str) -> tuple[str, str]:
        process = self.start(command, **changes)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, out + err
        return out, err

    def rows(self) -> int:
        """Rows of the training curve in the checkpoint folder."""
        curves = list(self.path.glob(".checkpoints/train_scratch/*/history/train.csv"))
        return sum(curve.read_text().count("\n") for curve in curves)

    def wait_for_rows(self, more_than: int) -> None:
        deadline = time.monotonic() + 200
        while self.rows() <= more_than:
            assert time.monotonic() < deadline, "the training makes no progress"
            time.sleep(0.02)

    def digests(self) -> dict[str, str]:
        return {name: sha256(self.path / name) for name in FILES}

    def status(self) -> str:
        """Of the run of this training, once it is not RUNNING."""
        deadline = time.monotonic() + 60
        while (status := self.run().info.status) == "RUNNING" and time.monotonic() < deadline:
            time.sleep(0.2)
        return str(status)

    def run(self) -> Any:
        stages = Runs(self.path).store.search(tags={"scratchformer.kind": "stage"})
        return stages[-1]  # the oldest; a rival has one of its own, see `rivals`

    def rivals(self) -> list[Any]:
        """Runs of stages that found the training busy."""
        return Runs(self.path).store.search(tags={"scratchformer.kind": "stage"})[:-1]

    def assert_one_value_per_step(self) -> None:
        """The curves of the run are those of the history files, point for point."""
        run, runs = self.run(), Runs(self.path)
        for name in ("train", "valid"):
            header, *lines = (
                line.split(",")
                for line in (self.path / f"reports/history/scratch/{name}.csv").read_text().split()
            )
            for column, key in enumerate(header[1:], 1):
                expected = [(int(line[0]), float(line[column])) for line in lines]
                shown = runs.curve(run, f"{name}.{key}")
                assert [step for step, _ in shown] == [step for step, _ in expected], key
                wanted = [value for _, value in expected]
                assert [value for _, value in shown] == pytest.approx(wanted, rel=1e-6), key
        for name in run.data.metrics:
            steps = [step for step, _ in runs.curve(run, name)]
            assert len(steps) == len(set(steps)), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a training writes that nobody disturbed."""
    folder = Folder(tmp_path_factory.mktemp("undisturbed"), tracked=False)
    folder.finish(STAGE)
    return folder.digests()


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Folder:
    made = Folder(tmp_path, tracked=True)
    shutil.copy(empty_database, tmp_path)
    return made


def test_another_place_hash_seed_locale_and_time_zone_give_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    elsewhere = tmp_path / "an other place, ünd a lönger one"
    elsewhere.mkdir()
    folder = Folder(elsewhere, tracked=False)
    folder.finish(STAGE, PYTHONHASHSEED="7", LC_ALL="C", TZ="Pacific/Chatham", PYTHONUTF8="0")
    assert folder.digests() == undisturbed


def trainer_below(dvc: int) -> psutil.Process:
    """The process of the stage that this DVC started."""
    below = psutil.Process(dvc).children(recursive=True)
    (trainer,) = [
        process for process in below
        if "scratchformer.stages.train_scratch" in process.cmdline()[1:3]
    ]  # fmt: skip
    return trainer


def test_dvc_killed_alone_and_then_its_trainer(folder: Folder, undisturbed: dict[str, str]) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=folder.path, check=True)
    subprocess.run([*REPRO[:3], "init", "--quiet"], cwd=folder.path, check=True)
    (folder.path / "dvc.yaml").write_text(PIPELINE)

    dvc = folder.start(REPRO)
    folder.wait_for_rows(25)  # the checkpoint of step 200 is there
    trainer = trainer_below(dvc.pid)
    dvc.kill()
    dvc.wait()
    trainer.suspend()  # so that it does not end before its rival begins
    checkpoints = sorted(folder.path.glob(".checkpoints/**/step-*/*"))
    before = {path: path.stat().st_mtime_ns for path in checkpoints}
    assert before and trainer.is_running()
    _, told = folder.finish(REPRO, code=255)
    lines = [line for line in told.splitlines() if line.startswith("train_scratch: ")]
    assert len(lines) == 1 and f"(pid {trainer.pid})" in lines[0], told
    assert "Traceback" not in told
    assert {path: path.stat().st_mtime_ns for path in checkpoints} == before

    trainer.kill()
    trainer.wait(10)
    assert folder.status() == "KILLED"
    killed = folder.run().info.run_id
    again = [part for part in REPRO if part != "--quiet"]
    out, _ = folder.finish(again)
    assert "resuming after step" in out
    assert folder.digests() == undisturbed
    assert folder.status() == "FINISHED"
    assert folder.run().info.run_id == killed
    assert all(not rival.data.metrics for rival in folder.rivals())
    folder.assert_one_value_per_step()


def last_checkpoint(folder: Folder) -> int:
    newest = max(folder.path.glob(".checkpoints/train_scratch/*/step-*"))
    return int(newest.name.removeprefix("step-"))


def test_signals(folder: Folder, undisturbed: dict[str, str]) -> None:
    rows = 0
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = folder.start(STAGE)
        folder.wait_for_rows(rows + 5)
        spent = sum(psutil.Process(process.pid).cpu_times()[:2])
        process.send_signal(number)
        with process:
            out, err = process.stdout.read(), process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == code, out + err
        # Seconds of the processor. On an idle machine about 2, and the exit is under 5 s; threads
        # that wait for each other on a busy one spend several times as much.
        assert usage.ru_utime + usage.ru_stime - spent < 15
        assert err.count("\n") == 1
        step = last_checkpoint(folder)
        assert f"stopped by {number.name} after step {step}; " in err  # no step is lost
        assert not (folder.path / "models/scratch").exists()
        assert folder.status() == "KILLED"
        rows = folder.rows()

    # A second signal ends at once: both are there before the process can look at either.
    process = folder.start(STAGE)
    folder.wait_for_rows(rows + 5)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert f"resuming after step {step} of {STEPS}" in out
    assert process.returncode in (-signal.SIGTERM, -signal.SIGINT)
    # None was written for the signals.
    assert last_checkpoint(folder) in (step, *range(200, STEPS, 200))

    folder.finish(STAGE)
    assert folder.digests() == undisturbed
    assert folder.status() == "FINISHED"
    assert folder.run().data.tags["scratchformer.continued"] == "3"
    assert folder.rivals() == []
    folder.assert_one_value_per_step()
