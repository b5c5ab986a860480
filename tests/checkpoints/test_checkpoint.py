"""A checkpoint is whole, or it is not loaded: flips, truncations, missing files, a full disk."""

import json
import random
import resource
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from scratchformer.checkpoints import checkpoint as checkpoint_module
from scratchformer.checkpoints.checkpoint import (
    Checkpoint,
    Checkpoints,
    DamagedError,
    read_checkpoint,
)
from scratchformer.checkpoints.disk import DiskFullError

FILES = ("best.safetensors", "manifest.json", "model.safetensors", "optimizer.safetensors",
         "state.json")  # fmt: skip


def snapshot(step: int) -> Checkpoint:
    tensors = {
        name: {"weight": torch.full((3, 4), step + shift), "bias": torch.arange(3.0)}
        for shift, name in enumerate(("model", "optimizer", "best"))
    }
    return Checkpoint(step, tensors, {"tokens": 10 * step, "sum": 0.1 + 0.2})


def sound(facts):
    return None


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    made = Checkpoints(tmp_path / "of-one-training")
    made.tidy()
    return made


def test_what_is_written_is_read_to_the_last_bit(checkpoints):
    written = snapshot(7)
    read = read_checkpoint(checkpoints.write(written))
    assert read.step == 7 and read.facts == written.facts
    assert read.tensors.keys() == written.tensors.keys()
    for name, tensors in written.tensors.items():
        for key, tensor in tensors.items():
            assert torch.equal(read.tensors[name][key], tensor)


def test_the_last_two_stay(checkpoints):
    for step in (1, 2, 3, 10):
        checkpoints.write(snapshot(step))
    assert [path.name for path in sorted(checkpoints.folder.iterdir())] == [
        "step-00000003", "step-00000010",
    ]  # fmt: skip
    assert checkpoints.newest(sound).step == 10


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_byte_is_ever_loaded(checkpoints, name):
    path = checkpoints.write(snapshot(1)) / name
    original = path.read_bytes()
    draw = random.Random(name)
    for _ in range(64):
        place, other = draw.randrange(len(original)), draw.randrange(1, 256)
        damaged = bytearray(original)
        damaged[place] ^= other
        path.write_bytes(bytes(damaged))
        with pytest.raises(DamagedError):
            read_checkpoint(path.parent)
    path.write_bytes(original)
    assert read_checkpoint(path.parent).step == 1


@pytest.mark.parametrize("name", FILES)
def test_no_truncated_file_is_ever_loaded(checkpoints, name):
    path = checkpoints.write(snapshot(1)) / name
    original = path.read_bytes()
    draw = random.Random(name)
    for _ in range(32):
        path.write_bytes(original[: draw.randrange(len(original))])
        with pytest.raises(DamagedError):
            read_checkpoint(path.parent)
    path.unlink()
    with pytest.raises(DamagedError):
        read_checkpoint(path.parent)


def test_a_damaged_newest_one_falls_back_and_says_so(checkpoints, capsys):
    checkpoints.write(snapshot(1))
    newer = checkpoints.write(snapshot(2))
    (newer / "optimizer.safetensors").write_bytes(b"")
    assert checkpoints.newest(sound).step == 1
    said = capsys.readouterr().out
    assert "step-00000002 is damaged" in said and "optimizer.safetensors" in said
    assert not newer.exists()


def test_a_checkpoint_whose_surroundings_changed_is_passed_over(checkpoints, capsys):
    checkpoints.write(snapshot(1))
    checkpoints.write(snapshot(2))
    reason = "train.csv has other bytes"
    found = checkpoints.newest(lambda facts: reason if facts["tokens"] == 20 else None)
    assert found.step == 1
    assert reason in capsys.readouterr().out


def test_nothing_sound_is_nothing(checkpoints):
    (checkpoints.write(snapshot(1)) / "model.safetensors").unlink()
    assert checkpoints.newest(sound) is None


def test_leftovers_of_a_killed_writer_go(checkpoints):
    (checkpoints.folder / ".step-00000009.abc").mkdir()
    checkpoints.write(snapshot(1))
    checkpoints.tidy()
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def test_space_is_checked_beforehand(checkpoints, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checkpoint_module.shutil, "disk_usage", lambda path: usage(0, 0, 2999))
    with pytest.raises(DiskFullError, match=r"need 3,000 bytes, 2,999 are free"):
        checkpoints.check_space(1000)
    checkpoints.write(snapshot(1))
    checkpoints.check_space(1000)  # one of the three is there already


WRITE_UNTIL_THE_DISK_IS_FULL = """
import json, resource, sys, torch
from pathlib import Path
from scratchformer.checkpoints.checkpoint import Checkpoints, Checkpoint, read_checkpoint
from scratchformer.checkpoints.disk import DiskFullError
folder, limits = Path(sys.argv[1]), json.loads(sys.argv[2])
checkpoints = Checkpoints(folder)
checkpoints.tidy()
tensors = {name: {"w": torch.arange(500.0)} for name in ("model", "optimizer")}
checkpoints.write(Checkpoint(1, tensors, {"filler": "x" * 3000}))
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        checkpoints.write(Checkpoint(2, tensors, {"filler": "x" * 3000}))
        sys.exit(f"limit {limit} was not felt")
    except DiskFullError as error:
        assert "step-00000002" in str(error) and "bytes" in str(error), error
    assert [path.name for path in folder.iterdir()] == ["step-00000001"], limit
    assert read_checkpoint(folder / "step-00000001").step == 1
"""


def test_a_disk_that_fills_up_at_any_byte_leaves_the_one_before(tmp_path):
    """A limit on the size of a file stands for the full disk: the write fails at that byte."""
    assert signal.SIGXFSZ and resource.RLIMIT_FSIZE
    limits = [0, 1, *random.Random(0).sample(range(2, 2000), 20)]
    command = [sys.executable, "-c", WRITE_UNTIL_THE_DISK_IS_FULL, str(tmp_path / "c")]
    subprocess.run([*command, json.dumps(limits)], check=True, timeout=120, cwd=Path.cwd())
