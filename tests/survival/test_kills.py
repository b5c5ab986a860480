"""`kill -9` at any moment, then the same command again: the same bytes as if nothing had happened.

The training from scratch has dropout, accumulation, clipping, length buckets and three epochs; the
fine-tuning has length groups, dropout and two epochs. Every training dies twice, the second time
after it was resumed, before it is left alone. KILL_POINTS=200 in the environment kills as often.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.files import sha256
from scratchformer.checkpoints.checkpoint import DamagedError, read_checkpoint
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import load_params

ROOT = Path(__file__).parents[2]
TRAINER = Path(__file__).with_name("kill_trainer.py")
KILL_POINTS = int(os.environ.get("KILL_POINTS", "14"))
EVERY_STEP, RARELY = 0.0, 1e9  # seconds between checkpoints, besides those at validations
START = 0
Run = dict[str, Any]


class Trainer:
    """The process that forks trainings: a run in, what became of it out."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(
        self, folder: Path, seconds: float, kill: Run | None = None, count: bool = False
    ) -> Run:
        assert self._process.stdin and self._process.stdout
        run = {"folder": str(folder), "seconds": seconds, "kill": kill, "count": count}
        print(json.dumps(run), file=self._process.stdin, flush=True)
        answer: Run = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def trainer(job: Run, folder: Path) -> Iterator[Trainer]:
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    with subprocess.Popen(
        [sys.executable, str(TRAINER), str(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield Trainer(process)


def write_rows(table: pa.Table, path: Path) -> str:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return str(path)


def results(folder: Path, steps: int) -> dict[str, str]:
    """Hashes of weights, state of the optimizer, and curves."""
    names = ("history/train.csv", "history/valid.csv", f"step-{steps:08d}/optimizer.safetensors",
             f"step-{steps:08d}/best.safetensors", "model/model.safetensors")  # fmt: skip
    reports = [f"model/{path.name}" for path in folder.glob("model/training.json")]
    return {name: sha256(folder / name) for name in (*names, *reports)}


def checkpoints_are_whole(folder: Path) -> bool:
    """Whether no half a checkpoint lies under the name of a finished one.

    The manifest would give it away, and the training begin at the one before: the bytes of the
    result do not show whether a checkpoint was written in place, so it is looked at here.
    """
    try:
        for path in folder.glob("step-*"):
            read_checkpoint(path)
    except DamagedError:
        return False
    return True


def kill_table(job: Run, folder: Path, steps: int, kill_points: int) -> list[Run]:
    """Kill `kill_points` trainings of `steps` updates, two in a row on the same checkpoints; two of
    three pairs begin inside the write of a checkpoint. A row says where, and what became of it."""
    draw = random.Random(2017)
    table: list[Run] = []
    with trainer(job, folder) as training:
        census = {
            seconds: training.run(folder / f"whole-{seconds:g}", seconds, count=True)
            for seconds in (RARELY, EVERY_STEP)
        }
        expected = results(folder / f"whole-{RARELY:g}", steps)
        assert results(folder / f"whole-{EVERY_STEP:g}", steps) == expected
        while len(table) < kill_points:
            killed, died = folder / f"killed-{len(table):03d}", []
            aimed = len(table) // 2 % 3 != 2  # at the write of a checkpoint
            seconds = EVERY_STEP if aimed else draw.choice((EVERY_STEP, RARELY))
            step = draw.randint(START + aimed, steps)
            for attempt in range(2):
                # Not of the resumed one: it has fewer old checkpoints to remove.
                inside = aimed and attempt == 0
                calls = census[seconds]["writes" if inside else "calls"]
                kill = {
                    "step": step,
                    "call": draw.randint(1, calls[str(step)]),
                    "inside_write": inside,
                }
                end = training.run(killed, seconds, kill)
                assert end.pop("status") == -signal.SIGKILL, kill
                place = {"kill point": len(table) + attempt + 1, "step": step, **end}
                died.append({**place, "whole": checkpoints_are_whole(killed)})
                # The checkpoint of `step` may have been in place already.
                step = draw.randint(step + 1, steps) if step < steps else START
            assert training.run(killed, seconds)["status"] == 0
            equal = results(killed, steps) == expected
            equal = equal and not list(killed.glob(".step-*"))
            table += [{**row, "equal": equal} for row in died]
    return table


def show(title: str, table: list[Run]) -> None:
    print(f"\n{title}\nkill point  step   inside write  whole  equal  in")
    for row in table:
        step = row["step"] or "start"
        inside, whole, equal = (
            "yes" if row[key] else "no" for key in ("inside_write", "whole", "equal")
        )
        print(f"{row['kill point']:>10}  {step:<5}  {inside:<12}  {whole:<5}  {equal:<5}  "
              f"{row['file']}: {row['call']}")  # fmt: skip
    inside, whole, equal = (
        sum(row[key] for row in table) for key in ("inside_write", "whole", "equal")
    )
    print(f"{len(table)} kill points, {inside} inside the write of a checkpoint; "
          f"{whole} left whole checkpoints only, {equal} ended with equal hashes")  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300 + 10 * KILL_POINTS)
def test_train_scratch_ends_with_the_same_bytes(tmp_path, copy_table, settings, info):
    values = settings(
        accumulate=2, max_steps=24, validate_every=5, log_every=4, clip_norm=0.5,
        batch_tokens=64, model__dropout=0.2,
    )  # fmt: skip
    epoch = len(TokenBatches(copy_table(60, 0), values.batch_tokens, 7))
    assert values.max_steps * values.accumulate > 2 * epoch  # more than two epochs
    job = {
        "training": "train_scratch", "settings": values.model_dump(), "info": info,
        "train": write_rows(copy_table(60, 0), tmp_path / "train.arrow"),
        "valid": write_rows(copy_table(8, 9), tmp_path / "valid.arrow"),
    }  # fmt: skip
    table = kill_table(job, tmp_path, values.max_steps, KILL_POINTS)
    show("train_scratch", table)
    assert len(table) >= KILL_POINTS
    assert sum(row["inside_write"] for row in table) >= 5
    assert [row for row in table if not (row["equal"] and row["whole"])] == []


@pytest.mark.slow
@pytest.mark.timeout(300 + 10 * KILL_POINTS)
def test_finetune_ends_with_the_same_bytes(tmp_path, tiny_bert, rows):
    changes = {
        "epochs": 2, "batch_size": 16, "learning_rate": 0.003, "label_smoothing": 0.1,
        "class_weights": "balanced", "freeze": "embeddings", "frozen_layers": 1, "log_every": 7,
    }  # fmt: skip
    settings = load_params(DEFAULT_PARAMS).finetune.model_copy(update=changes)
    job = {
        "training": "finetune", "settings": settings.model_dump(), "model": str(tiny_bert),
        "labels": ["first", "second", "third"], "rows": write_rows(rows, tmp_path / "rows.arrow"),
    }  # fmt: skip
    table = kill_table(job, tmp_path, 20, max(6, KILL_POINTS // 3))
    show("finetune", table)
    assert sum(row["inside_write"] for row in table) >= 2
    assert [row for row in table if not (row["equal"] and row["whole"])] == []
