"""Runs trainings as processes of their own and lets SIGKILL end some of them. Not a test itself.

usage: python kill_trainer.py JOB.json

Torch is imported once; every training is a fork. To make "at any moment" repeatable, a training
that is to die counts the calls it makes (of Python and of C functions alike) and sends itself
SIGKILL at a given share of the calls of an earlier, whole training: in the middle of an update,
between two writes of a checkpoint, anywhere. Prints the exit status of each run as JSON.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import torch._dynamo  # AdamW imports it, in 2 s: here once, instead of in every fork

from scratchformer.data.batches import TokenBatches
from scratchformer.params import TrainScratch
from scratchformer.training.build import build_objective
from scratchformer.training.checkpoint import Checkpoints
from scratchformer.training.loop import Training
from scratchformer.transformer import save_model


class Reaper:
    """Counts calls; kills the process at the one it was given."""

    def __init__(self, kill_at: int | None, inside_write: bool) -> None:
        self.kill_at, self.inside_write = kill_at, inside_write
        self.calls, self.writing = 0, 0

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if self.inside_write:
            if frame.f_code is Checkpoints.write.__code__ and event in ("call", "return"):
                self.writing += 1 if event == "call" else -1
            if not self.writing:
                return
        if event in ("call", "c_call"):
            self.calls += 1
            if self.calls == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def train(job: dict[str, Any], run: dict[str, Any], kill_at: int | None) -> int:
    """One training, in `run["folder"]`; returns the calls counted."""
    settings = TrainScratch.model_validate(job["settings"])
    train_split, valid_split = (
        TokenBatches(
            pa.ipc.open_file(pa.memory_map(job[name])).read_all(), settings.batch_tokens, seed=7
        )
        for name in ("train", "valid")
    )
    objective = build_objective(settings, job["info"], valid_split, seed=7)
    folder = Path(run["folder"])
    training = Training(
        objective, train_split, settings, 7, Checkpoints(folder), checkpoint_seconds=run["seconds"]
    )
    reaper = Reaper(kill_at, run["inside_write"])
    sys.setprofile(reaper)
    training.run()
    sys.setprofile(None)
    save_model(training.model, folder / "model")
    return reaper.calls


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    calls: list[int] = []
    statuses = []
    for run in job["runs"]:
        kill_at = run["share"] and max(1, int(run["share"] * calls[run["of"]]))
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.write(writing, str(train(job, run, kill_at)).encode())
            os._exit(0)
        os.close(writing)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        calls.append(int(os.read(reading, 100) or 0))
        os.close(reading)
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
