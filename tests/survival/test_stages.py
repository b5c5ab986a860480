"""The stages that train as processes, under DVC and alone, with their MLflow run: kills, signals,
rivals. Whatever happened, the bytes are those of a training that nobody disturbed, and MLflow shows
one run with one value per (metric, step)."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from ruamel.yaml import YAML
from tests.forked import ForkedPython
from tests.pretrained.conftest import make_stage_folder as make_finetune_folder
from tests.tracking.conftest import Runs
from tests.training.conftest import make_stage_folder

from scratchformer.base.files import sha256
from scratchformer.params import Params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = 800
EPOCHS = 24
REPRO = [sys.executable, "-m", "dvc", "repro", "--quiet"]


# What each stage reads; it gets no other parameters.
PARAMS = {
    "train_scratch": "run, train_scratch",
    "finetune": "run, finetune, pretrained, tokenize.finetune",
}


class Folder:
    """A working folder with an MLflow store, and tokens for a stage that trains.

    Attributes:
        track: the name of its outputs.
        deps: its inputs, for DVC.
    """

    stage, model, track = "train_scratch", "scratch", "scratch"
    deps = "data/tokenized/scratch, models/tokenizers/scratch"

    def __init__(self, path: Path, tracked: bool) -> None:
        self.path = path
        self.alone = [sys.executable, "-m", f"scratchformer.stages.{self.stage}"]
        values = self.make().model_dump(mode="json")
        values["tracking"]["enabled"] = tracked
        with (path / "params.yaml").open("w") as file:
            YAML().dump(values, file)

    def make(self) -> Params:
        return make_stage_folder(self.path, max_steps=STEPS, validate_every=200, log_every=10)

    def put_under_dvc(self) -> None:
        subprocess.run(["git", "init", "--quiet"], cwd=self.path, check=True)
        subprocess.run([*REPRO[:3], "init", "--quiet"], cwd=self.path, check=True)
        (self.path / "dvc.yaml").write_text(f"""
stages:
  {self.stage}:
    cmd: {" ".join(self.alone)}
    deps: [{self.deps}]
    params: [{PARAMS[self.stage]}]
    outs: [models/{self.model}, reports/history/{self.track}]
""")

    def start(self, command: list[str], **changes: str) -> "subprocess.Popen[str]":
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DVC")}
        environment = kept | changes
        # A fork has the hash seed and the locale of its parent.
        popen = subprocess.Popen if changes else ForkedPython
        return popen(
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
        curves = list(self.path.glob(f".checkpoints/{self.stage}/*/history/train.csv"))
        return sum(curve.read_text().count("\n") for curve in curves)

    def wait_for_rows(self, more_than: int) -> None:
        deadline = time.monotonic() + 200
        while self.rows() <= more_than:
            assert time.monotonic() < deadline, "the training makes no progress"
            time.sleep(0.02)

    def digests(self) -> dict[str, str]:
        model, history = f"models/{self.model}", f"reports/history/{self.track}"
        names = (f"{model}/model.safetensors", f"{model}/training.json",
                 f"{history}/train.csv", f"{history}/valid.csv")  # fmt: skip
        return {name: sha256(self.path / name) for name in names}

    def last_checkpoint(self) -> int:
        newest = max(self.path.glob(f".checkpoints/{self.stage}/*/step-*"))
        return int(newest.name.removeprefix("step-"))

    def trainer_below(self, dvc: int) -> psutil.Process:
        """The process of the stage that this DVC started."""
        below = psutil.Process(dvc).children(recursive=True)
        (trainer,) = [
            process for process in below
            if f"scratchformer.stages.{self.stage}" in process.cmdline()[1:3]
        ]  # fmt: skip
        return trainer

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
            table = self.path / f"reports/history/{self.track}/{name}.csv"
            header, *lines = (line.split(",") for line in table.read_text().split())
            for column, key in enumerate(header[1:], 1):
                expected = [(int(line[0]), float(line[column])) for line in lines]
                shown = runs.curve(run, f"{name}/{key}")
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
    folder.finish(folder.alone)
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
    changes = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Pacific/Chatham", "PYTHONUTF8": "0"}
    folder.finish(folder.alone, **changes)
    assert folder.digests() == undisturbed


@pytest.mark.release
def test_dvc_killed_alone_and_then_its_trainer(folder: Folder, undisturbed: dict[str, str]) -> None:
    folder.put_under_dvc()
    dvc = folder.start(REPRO)
    folder.wait_for_rows(25)  # the checkpoint of step 200 is there
    trainer = folder.trainer_below(dvc.pid)
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


def assert_signals_stop_it(folder: Folder, rows: int, *signals: signal.Signals) -> int:
    """Each signal to the training that is resumed after the one before; returns the last step."""
    for number in signals:
        process = folder.start(folder.alone)
        folder.wait_for_rows(rows + 5)
        process.send_signal(signal.SIGSTOP)
        seen = psutil.Process(process.pid)
        while seen.status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        rows, spent = folder.rows(), sum(seen.cpu_times()[:2])
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        with process:
            out, err = process.stdout.read(), process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 128 + number, out + err
        # Seconds of the processor. On an idle machine about 2, and the exit is under 5 s; threads
        # that wait for each other on a busy one spend several times as much.
        assert usage.ru_utime + usage.ru_stime - spent < 15
        assert err.count("\n") == 1
        step = folder.last_checkpoint()
        told = rf"stopped by {number.name} after (step|update) {step}\b"
        assert re.search(told, err.replace(",", "")), err  # the checkpoint is that of the last one
        assert folder.rows() <= rows + 1  # which was under way already
        assert not (folder.path / "models" / folder.model).exists()
        assert folder.status() == "KILLED"
        rows = folder.rows()
    return step


def test_signals(folder: Folder, undisturbed: dict[str, str]) -> None:
    step = assert_signals_stop_it(folder, 0, signal.SIGTERM, signal.SIGINT)

    # A second signal ends at once: both are there before the process can look at either.
    rows = folder.rows()
    process = folder.start(folder.alone)
    folder.wait_for_rows(rows + 5)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, -signal.SIGINT), out + err
    assert "stopped by" not in err
    # None was written for the signals that ended it at once.
    assert folder.last_checkpoint() in (step, *range(200, STEPS, 200))
    out, _ = folder.finish(folder.alone)
    assert "resuming after step" in out
    assert folder.digests() == undisturbed
    assert folder.status() == "FINISHED"
    assert folder.run().data.tags["scratchformer.continued"] == "3"
    assert folder.rivals() == []
    folder.assert_one_value_per_step()


class FinetuneFolder(Folder):
    """The same for the stage finetune, of the tiny BERT on 150 rows: 19 updates an epoch."""

    stage, model, track = "finetune", "finetuned", "finetune"
    deps = "data/prepared/finetune, data/tokenized/finetune, models/tokenizers/finetune"

    def __init__(self, path: Path, tracked: bool, bert: Path, rows: pa.Table) -> None:
        self.bert, self.table = bert, rows
        super().__init__(path, tracked)

    def make(self) -> Params:
        return make_finetune_folder(
            self.path, self.bert, self.table,
            epochs=EPOCHS, batch_size=8, patience=EPOCHS, log_every=1, learning_rate=0.001,
            frozen_layers=1,
        )  # fmt: skip


@pytest.mark.release
def test_finetune_survives_kills_and_signals_under_dvc(
    tmp_path: Path, tiny_bert: Path, rows: pa.Table, empty_database: Path
) -> None:
    for name in ("undisturbed", "disturbed"):
        (tmp_path / name).mkdir()
    undisturbed = FinetuneFolder(tmp_path / "undisturbed", False, tiny_bert, rows)
    undisturbed.finish(undisturbed.alone)
    folder = FinetuneFolder(tmp_path / "disturbed", True, tiny_bert, rows)
    shutil.copy(empty_database, folder.path)
    folder.put_under_dvc()

    dvc = folder.start(REPRO)
    folder.wait_for_rows(45)  # of the third epoch: two checkpoints are there
    trainer = folder.trainer_below(dvc.pid)
    dvc.kill()
    trainer.kill()
    dvc.wait()
    assert folder.last_checkpoint() % 19 == 0
    assert folder.status() == "KILLED"
    killed = folder.run().info.run_id

    # One is enough: the signals are told apart by code that both trainings share, see test_signals.
    assert_signals_stop_it(folder, folder.rows(), signal.SIGINT)
    folder.finish(REPRO)
    assert folder.digests() == undisturbed.digests()
    assert folder.status() == "FINISHED"
    assert folder.run().info.run_id == killed
    assert folder.run().data.tags["scratchformer.continued"] == "2"
    folder.assert_one_value_per_step()
