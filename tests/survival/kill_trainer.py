"""Runs trainings as processes of their own and lets SIGKILL end some of them. Not a test itself.

usage: python kill_trainer.py JOB.json

Torch is imported once; every training is a fork. To make "at any moment" repeatable, a kill point
is an update and a share of the calls (of Python and of C functions alike) that this update makes,
with the rows it writes, its validation and its checkpoint; "start" is everything before the first
update. The training that is to die counts its calls from there and sends itself SIGKILL.

Prints one JSON object per run: its exit status, and where it died or how many calls each update
makes.
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # noqa: F401 - as torch._dynamo: here once, instead of in every fork
import pyarrow as pa
import torch
import torch._dynamo  # AdamW imports it, in 2 s

from scratchformer.base.files import write_json
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import Finetune, Pretrained, TrainScratch
from scratchformer.training.build import build_objective
from scratchformer.training.loop import Training
from scratchformer.transformer import save_model

START = 0  # stands for what happens before the first update


class Reaper:
    """Counts calls in every update; kills the process at the kill point it was given.

    Args:
        kill: {"step", "call", "inside_write"}; None only counts.
        tell: gets the place of death, or in the end the counts.
    """

    def __init__(self, kill: dict[str, Any] | None, tell: Callable[[dict[str, Any]], None]) -> None:
        self.kill, self.tell = kill, tell
        self.step, self.in_write, self.writing = START, False, False
        self.calls: Counter[int] = Counter()  # update → calls
        self.writes: Counter[int] = Counter()  # the same, on the way to the disk

    def update_begins(self, step: int) -> None:
        self.step = step
        if self.kill:
            # The counting costs ten times the update, so it is on in one update only.
            sys.setprofile(self if step == self.kill["step"] else None)

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if frame.f_code is Checkpoints.write.__code__ and event in ("call", "return"):
            self.in_write, self.writing = event == "call", False
        # Before its folder is made, a write only computes bytes, with more calls than all the rest.
        self.writing |= self.in_write and argument is os.mkdir
        if event not in ("call", "c_call"):
            return
        self.calls[self.step] += 1
        self.writes[self.step] += self.writing
        counted = self.writes if self.kill and self.kill["inside_write"] else self.calls
        if self.kill and counted[self.step] == self.kill["call"]:
            called = argument.__qualname__ if event == "c_call" else frame.f_code.co_qualname
            place = {"inside_write": self.writing, "call": called}
            self.tell({**place, "file": Path(frame.f_code.co_filename).name})
            os.kill(os.getpid(), signal.SIGKILL)

    def ends(self) -> None:
        sys.setprofile(None)
        self.tell({"calls": self.calls, "writes": self.writes})


def read_rows(path: str) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(path)).read_all()


def train_scratch(job: dict[str, Any], run: dict[str, Any], reaper: Reaper) -> None:
    """One training from scratch, in `run["folder"]`."""

    class Watched(Training):
        def update(self) -> None:
            reaper.update_begins(self.state.step + 1)
            super().update()

    settings = TrainScratch.model_validate(job["settings"])
    train_split, valid_split = (
        TokenBatches(read_rows(job[name]), settings.batch_tokens, seed=7)
        for name in ("train", "valid")
    )
    objective = build_objective(settings, job["info"], valid_split, seed=7)
    folder = Path(run["folder"])
    training = Watched(
        objective, train_split, settings, 7, Checkpoints(folder), checkpoint_seconds=run["seconds"]
    )
    training.run()
    save_model(training.model, folder / "model")


def finetune(job: dict[str, Any], run: dict[str, Any], reaper: Reaper) -> None:
    """One fine-tuning of the classifier in `job["model"]`, in `run["folder"]`."""
    from dataclasses import asdict

    from scratchformer.pretrained.finetuning.finetuning import finetune as fine_tune
    from scratchformer.pretrained.finetuning.tasks.classification import Classification
    from scratchformer.pretrained.finetuning.trainer import ResumableTrainer
    from scratchformer.pretrained.models.loading import load_classifier

    training_step = ResumableTrainer.training_step

    def watched(self: ResumableTrainer, *arguments: Any, **named: Any) -> torch.Tensor:
        reaper.update_begins(self.state.global_step + 1)
        return training_step(self, *arguments, **named)

    ResumableTrainer.training_step = watched
    rows, labels, folder = read_rows(job["rows"]), job["labels"], Path(run["folder"])
    model = load_classifier(Pretrained(kind="folder", name=job["model"]), labels, 7)
    task = Classification(model, rows.slice(0, 150), rows.slice(150))
    settings = Finetune.model_validate(job["settings"])
    report = fine_tune(task, settings, 7, Checkpoints(folder), checkpoint_seconds=run["seconds"])
    model.save_pretrained(folder / "model")
    write_json(folder / "model" / "training.json", asdict(report))


TRAININGS = {"train_scratch": train_scratch, "finetune": finetune}


def in_a_fork(job: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """The exit status, and what the reaper told."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

        def tell(what: dict[str, Any]) -> None:
            os.write(writing, json.dumps(what).encode())

        reaper = Reaper(run["kill"], tell)
        if run["kill"] is None or run["kill"]["step"] == START:
            sys.setprofile(reaper if run["count"] or run["kill"] else None)
        TRAININGS[job["training"]](job, run, reaper)
        reaper.ends()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"status": status, **json.loads(told or b"{}")}


def warm_up(training: str) -> None:
    """Import here, once, what the forks would import each on its own, which takes seconds."""
    if training == "finetune":
        import sklearn.metrics  # noqa: F401
        import transformers.models.bert.modeling_bert  # noqa: F401



def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    warm_up(job["training"])
    for line in sys.stdin:
        print(json.dumps(in_a_fork(job, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
