"""Damage to any file of a checkpoint, of either training: never loaded, never silent.

For every file 64 flipped bytes and 32 truncations, at places drawn with a fixed seed. The newest
checkpoint is then passed over with a line that names the file, and the one before is used.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.files import read_json
from scratchformer.checkpoints.checkpoint import Checkpoints, DamagedError, read_checkpoint
from scratchformer.monitoring.history import Extent, History
from scratchformer.params import Pretrained, load_params

ROOT = Path(__file__).parents[2]
FLIPS, TRUNCATIONS = 64, 32
FILES = ("best.safetensors", "manifest.json", "model.safetensors", "optimizer.safetensors",
         "state.json")  # fmt: skip


@pytest.fixture
def scratch_checkpoints(training) -> Checkpoints:
    one = training(max_steps=4, validate_every=2, log_every=1)
    one.run()
    return one.checkpoints


@pytest.fixture
def finetune_checkpoints(tmp_path, tiny_bert, rows) -> Checkpoints:
    from scratchformer.pretrained.finetuning.finetuning import finetune
    from scratchformer.pretrained.finetuning.tasks.classification import Classification
    from scratchformer.pretrained.models.loading import load_classifier

    labels = ["first", "second", "third"]
    model = load_classifier(Pretrained(kind="folder", name=str(tiny_bert)), labels, 1)
    changes = {"epochs": 2, "batch_size": 16, "log_every": 1, "frozen_layers": 0}
    settings = load_params(DEFAULT_PARAMS).finetune.model_copy(update=changes)
    checkpoints = Checkpoints(tmp_path / "finetune")
    finetune(Classification(model, rows.slice(0, 32), rows.slice(150)), settings, 1, checkpoints)
    return checkpoints


@pytest.fixture(params=["train_scratch", "finetune"])
def checkpoints(request) -> Checkpoints:
    name = request.param.removeprefix("train_")
    made: Checkpoints = request.getfixturevalue(f"{name}_checkpoints")
    assert [path.name for path in sorted(made.folder.glob("step-*"))] == [
        "step-00000002", "step-00000004",
    ]  # fmt: skip
    return made


def damages(content: bytes, seed: str) -> Iterator[bytes]:
    """The flips, then the truncations."""
    draw = random.Random(seed)
    for _ in range(FLIPS):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= draw.randrange(1, 256)
        yield bytes(flipped)
    for _ in range(TRUNCATIONS):
        yield content[: draw.randrange(len(content))]


def test_no_damage_to_a_checkpoint_is_loaded(checkpoints, tmp_path, capsys):
    newest = checkpoints.folder / "step-00000004"
    pristine = tmp_path / "pristine"
    shutil.copytree(newest, pristine)
    assert tuple(sorted(path.name for path in newest.iterdir())) == FILES
    table = []
    for name in FILES:
        refused = fell_back = 0
        for content in damages((pristine / name).read_bytes(), name):
            (newest / name).write_bytes(content)
            with pytest.raises(DamagedError):
                read_checkpoint(newest)
            refused += 1
            found = checkpoints.newest(lambda facts: None)
            said = capsys.readouterr().out
            fell_back += (
                found is not None and found.step == 2 and not newest.exists()
                and said.count("\n") == 1 and "step-00000004 is damaged" in said and name in said
            )  # fmt: skip
            shutil.copytree(pristine, newest)
        table.append((name, refused, fell_back))
    assert read_checkpoint(newest).step == 4  # what was not damaged is loaded
    with capsys.disabled():
        print(f"\n{'file':<24}{'damages':>9}{'refused':>9}{'fell back and said so':>24}")
        for name, refused, fell_back in table:
            print(f"{name:<24}{FLIPS + TRUNCATIONS:>9}{refused:>9}{fell_back:>24}")
    assert {row[1:] for row in table} == {(FLIPS + TRUNCATIONS,) * 2}


def test_no_damage_to_the_curves_is_taken_over(checkpoints):
    facts = read_json(checkpoints.folder / "step-00000004" / "state.json")
    extents: dict[str, Extent] = facts["history"]
    history = History(checkpoints.folder / "history", dict.fromkeys(extents, ()))
    assert history.damage(extents) is None
    for name in extents:
        path = history.path(name)
        content = path.read_bytes()
        assert extents[name]["bytes"] == len(content)
        for damaged in damages(content, name):
            path.write_bytes(damaged)
            reason = history.damage(extents)
            assert reason is not None and path.name in reason
        path.write_bytes(content + b"5,half a ro")  # after the extent: cut away, no damage
        assert history.damage(extents) is None
        history.cut(extents)
        assert path.read_bytes() == content
