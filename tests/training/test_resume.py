"""`kill -9` at any moment, then the same command again: the same bytes as if nothing had happened.

With dropout, accumulation, clipping, length buckets, three epochs and early validations. Some
of the kills fall inside the writing of a checkpoint.
"""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from scratchformer.data.batches import TokenBatches

TRAINER = Path(__file__).with_name("kill_trainer.py")
KILLS, KILLS_INSIDE_WRITES = 6, 4
KILLED = -signal.SIGKILL


@pytest.fixture
def job(tmp_path, copy_table, settings, info):
    values = settings(
        accumulate=2, max_steps=24, validate_every=5, log_every=4, clip_norm=0.5,
        batch_tokens=64, model__dropout=0.2,
    )  # fmt: skip
    paths = {}
    for name, rows, seed in (("train", 60, 0), ("valid", 8, 9)):
        table = copy_table(rows, seed)
        paths[name] = str(tmp_path / f"{name}.arrow")
        with pa.OSFile(paths[name], "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    epoch = len(TokenBatches(copy_table(60, 0), values.batch_tokens, 7))
    assert values.max_steps * values.accumulate > 2 * epoch  # more than two epochs
    return {"settings": values.model_dump(), "info": info, **paths}


def run_all(tmp_path, job, runs) -> list[int]:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({**job, "runs": runs}))
    command = [sys.executable, str(TRAINER), str(file)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=280)
    return json.loads(ended.stdout)


def plan(folder, *, share=0.0, inside_write=False):
    """A training, killed after `share` of the calls of a whole one; 0 leaves it alone.

    Those that die inside writes checkpoint at every step, which gives them more places to die.
    """
    seconds, of = (0, WRITES) if inside_write else (1e9, WHOLE)
    return {
        "folder": str(folder), "share": share, "of": of, "seconds": seconds,
        "inside_write": inside_write,
    }  # fmt: skip


WHOLE, WRITES = 0, 1  # the runs whose calls are counted


@pytest.mark.slow
def test_killed_and_resumed_trainings_end_with_the_same_bytes(tmp_path, job):
    draw = random.Random(2017)
    reference = tmp_path / "reference"
    runs = [plan(reference), plan(tmp_path / "all-writes", inside_write=True)]
    for kill in range(KILLS + KILLS_INSIDE_WRITES):
        folder, inside = tmp_path / f"killed-{kill}", kill >= KILLS
        # Twice: the resumed training may be killed as well, before it is left alone.
        runs += [plan(folder, share=draw.random(), inside_write=inside)]
        runs += [plan(folder, share=draw.random() / 2, inside_write=inside)]
        runs += [plan(folder)]
    statuses = run_all(tmp_path, job, runs)
    assert statuses[:2] == [0, 0]
    assert set(statuses[2::3]) == {KILLED}
    assert set(statuses[3::3]) <= {KILLED, 0}
    assert set(statuses[4::3]) == {0}

    files = ("model/model.safetensors", "history/train.csv", "history/valid.csv",
             "step-00000024/optimizer.safetensors")  # fmt: skip
    for folder in {run["folder"] for run in runs}:
        for name in files:
            expected = (reference / name).read_bytes()
            assert (Path(folder) / name).read_bytes() == expected, f"{folder}/{name}"
        assert not list(Path(folder).glob(".step-*"))
