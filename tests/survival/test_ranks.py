"""`kill -9` of one of two processes ends the other in seconds, with one line, and the next run ends
with the bytes of a training of two processes that nobody disturbed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML
from tests.training.conftest import make_stage_folder

from scratchformer.base.files import sha256
from scratchformer.training.gates import GATES

pytestmark = [pytest.mark.release, pytest.mark.timeout(600)]

STAGE = [sys.executable, "-m", "scratchformer.stages.train_scratch"]
OUTPUTS = [
    *(f"models/scratch/{name}" for name in ("model.safetensors", "training.json")),
    *(f"reports/history/scratch/{name}.csv" for name in ("train", "valid")),
]


def make(folder: Path) -> Path:
    folder.mkdir()
    params = make_stage_folder(
        folder, accumulate=2, max_steps=40, validate_every=10, log_every=2, model__dropout=0.2,
        skip_gates=[gate.name for gate in GATES], decode_samples=2,
    )  # fmt: skip
    values = params.model_dump(mode="json")
    values["tracking"]["enabled"] = False
    values["run"] |= {"processes": 2, "threads": 2}
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    return folder


def start(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        STAGE, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(folder: Path) -> str:
    process = start(folder)
    said, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, ""), errors
    return said


def rows(folder: Path) -> int:
    """Of the training curve so far."""
    curves = folder.glob(".checkpoints/train_scratch/*/history/train.csv")
    return sum(curve.read_text().count("\n") for curve in curves)


def processes_of(launcher: "subprocess.Popen[str]", folder: Path) -> list[psutil.Process]:
    """The two that train, by rank, once they are past a checkpoint (of step 10) and going on."""
    enough = max(8, rows(folder) + 1)
    while rows(folder) < enough:
        assert launcher.poll() is None
        time.sleep(0.02)
    found = {one.environ()["RANK"]: one for one in psutil.Process(launcher.pid).children()}
    return [found["0"], found["1"]]


def digests(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in OUTPUTS}


def test_killed_processes_end_their_peer_and_the_next_run_goes_on(tmp_path: Path) -> None:
    undisturbed, folder = (make(tmp_path / name) for name in ("undisturbed", "killed"))
    said = finish(undisturbed)
    assert said.count("step 40, validation") == 1  # one voice
    assert "2 threads, float32, 2 processes\n" in said
    for rank in (1, 0):
        process = start(folder)
        both = processes_of(process, folder)
        both[rank].kill()
        _, errors = process.communicate(timeout=60)  # 1 s on an idle machine, 22 at a load of 15
        assert process.returncode == 128 + signal.SIGKILL
        assert errors == (
            f"train_scratch: process {rank} was ended by SIGKILL, and the others with it; run it "
            "again to go on from the last checkpoint\n"
        )
        assert not any(one.is_running() for one in both)
        assert not (folder / "models/scratch").exists()
    assert "resuming after step" in finish(folder)
    assert digests(folder) == digests(undisturbed)


@pytest.mark.parametrize("to_all", [True, False])
def test_one_signal_stops_both_after_their_update(tmp_path: Path, to_all: bool) -> None:
    """SIGTERM to the stage, or to one of its processes."""
    folder = make(tmp_path / "stopped")
    process = start(folder)
    both = processes_of(process, folder)
    os.kill(process.pid if to_all else both[1].pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.startswith("train_scratch: stopped by SIGTERM after step ")
    assert errors.count("\n") == 1
    assert not any(one.is_running() for one in both)
