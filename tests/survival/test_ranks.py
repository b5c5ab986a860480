"""`kill -9` of one of two processes ends the other in seconds, with one line, and the next run ends
with the bytes of a training of two processes that nobody disturbed. So do two computers."""

import os
import signal
import socket
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


def make(folder: Path, processes: int = 2, steps: int = 40, **run: str) -> Path:
    folder.mkdir()
    params = make_stage_folder(
        folder, accumulate=2, max_steps=steps, validate_every=10, log_every=2, model__dropout=0.2,
        skip_gates=[gate.name for gate in GATES], decode_samples=2,
    )  # fmt: skip
    values = params.model_dump(mode="json")
    values["tracking"]["enabled"] = False
    values["run"] |= {"processes": processes, "threads": processes, **run}
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
            "again\n"
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


def computers(folders: list[Path]) -> "list[subprocess.Popen[str]]":
    """The stage as docs/processes.md starts it on two computers, each with its own checkout."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    options = ["--nnodes", "2", "--master-addr", "localhost", "--master-port", port]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *options, "--max-restarts", "0"]
    return [
        subprocess.Popen(
            [*torchrun, "--node-rank", str(rank), *STAGE[1:]],
            cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank, folder in enumerate(folders)
    ]  # fmt: skip


def words_of(process: "subprocess.Popen[str]") -> list[str]:
    """What the stage itself says at its end; torchrun adds lines of its own."""
    _, errors = process.communicate(timeout=120)
    return [line for line in errors.splitlines() if line.startswith("train_scratch: ")]


def test_two_computers_make_the_weights_of_two_processes(tmp_path: Path) -> None:
    """Killed once, and taken up again; the second computer keeps and writes nothing."""
    undisturbed = make(tmp_path / "undisturbed")
    finish(undisturbed)
    folders = [make(tmp_path / name, processes=1) for name in ("first", "second")]
    agents = computers(folders)
    while rows(folders[0]) < 8:
        assert agents[0].poll() is None
        time.sleep(0.02)
    (killed,) = psutil.Process(agents[1].pid).children()
    killed.kill()
    (said,) = words_of(agents[0])
    assert said.startswith("train_scratch: another process of this stage has ended (")
    assert words_of(agents[1]) == [] and all(agent.returncode == 1 for agent in agents)
    agents = computers(folders)
    said, errors = agents[0].communicate(timeout=120)
    assert "resuming after step" in said and agents[0].returncode == 0, errors
    assert agents[1].communicate(timeout=60)[0] == "" and agents[1].returncode == 0
    assert digests(folders[0]) == digests(undisturbed)
    assert not any((folders[1] / name).exists() for name in (".checkpoints", "reports"))
    assert not (folders[1] / "models/scratch").exists()


def test_computers_that_would_train_different_models_are_told(tmp_path: Path) -> None:
    folders = [make(tmp_path / name, processes=1) for name in ("first", "second")]
    params = folders[1] / "params.yaml"
    params.write_text(params.read_text().replace("seed: 42", "seed: 43"))
    train = folders[1] / "data/tokenized/scratch/train.arrow"
    train.write_bytes((folders[1] / "data/tokenized/scratch/valid.arrow").read_bytes())
    for agent in computers(folders):
        (said,) = words_of(agent)
        assert "computers of this training differ in: run.seed, data/tokenized/scratch/tr" in said
