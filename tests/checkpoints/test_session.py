"""Fingerprints and locks: no checkpoint in another configuration, no second writer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.checkpoints import agreement
from scratchformer.checkpoints.agreement import demand_agreement
from scratchformer.checkpoints.checkpoint import Checkpoint
from scratchformer.checkpoints.fingerprint import collect_facts, differing, fingerprint
from scratchformer.checkpoints.session import session_of
from scratchformer.checkpoints.writer_lock import BusyError, only_writer

ROOT = Path(__file__).parents[2]
CHECKPOINT = Checkpoint(5, {"model": {"w": torch.ones(1)}}, {})


@pytest.fixture
def inputs(tmp_path) -> list[Path]:
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / "train.arrow", tmp_path / "folder" / "source.json"]
    for path in paths:
        path.write_text("data")
    return [paths[0], paths[1].parent]


def facts_of(settings, inputs, **changes):
    return collect_facts("train_scratch", {"train_scratch": settings(**changes)}, inputs)


def test_parameters_inputs_and_code_are_facts(settings, inputs, tmp_path):
    before = facts_of(settings, inputs)
    assert differing(before, facts_of(settings, inputs)) == []
    (tmp_path / "folder" / "source.json").write_text("other data")
    after = facts_of(settings, inputs, accumulate=2, model__d_ff=64)
    assert differing(before, after) == sorted([
        "train_scratch.accumulate",
        "train_scratch.model.d_ff",
        (tmp_path / "folder/source.json").as_posix(),
    ])
    assert fingerprint(before) != fingerprint(after)
    assert "code:training/objectives/loss.py" in before and "version of torch" in before


@pytest.mark.parametrize("stage", ["train_scratch", "finetune"])
def test_a_checkpoint_knows_the_code_that_dvc_yaml_lists(stage, monkeypatch, tmp_path):
    """Else a training that was cut short would go on with other code where the old one stopped."""
    monkeypatch.chdir(ROOT)
    facts = collect_facts(stage, {}, [])
    assert f"code:stages/{stage}.py" in facts and "code:checkpoints/session.py" in facts
    assert not any(name.startswith("code:visualization") for name in facts)
    monkeypatch.chdir(tmp_path)
    everything = collect_facts(stage, {}, [])  # dvc.yaml is not there: all code counts
    assert facts.items() < everything.items() and "code:visualization/__init__.py" in everything


def test_a_missing_input_is_one_clear_line(settings, tmp_path):
    with pytest.raises(DataError, match="not found; make it with: dvc repro"):
        facts_of(settings, [tmp_path / "absent.arrow"])


def test_checkpoints_go_when_the_outputs_are_in_place(tmp_path):
    with session_of(tmp_path, {"a": 1}) as checkpoints:
        checkpoints.tidy()
        checkpoints.write(CHECKPOINT)
    assert not list(tmp_path.rglob("step-*"))


def test_checkpoints_stay_when_the_training_fails(tmp_path):
    with pytest.raises(RuntimeError), session_of(tmp_path, {"a": 1}) as checkpoints:
        checkpoints.tidy()
        checkpoints.write(CHECKPOINT)
        raise RuntimeError
    with session_of(tmp_path, {"a": 1}) as checkpoints:
        assert checkpoints.newest(lambda facts: None).step == 5


def test_another_configuration_is_told_and_not_used(tmp_path, capsys):
    with pytest.raises(RuntimeError), session_of(tmp_path, {"a": 1, "b": 2}) as checkpoints:
        checkpoints.tidy()
        checkpoints.write(CHECKPOINT)
        raise RuntimeError
    capsys.readouterr()
    with session_of(tmp_path, {"a": 1, "b": 3, "c": 4}) as checkpoints:
        assert checkpoints.newest(lambda facts: None) is None
    assert capsys.readouterr().out.strip().endswith("is not used, it differs in: b, c")


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"a": 1', b"\xff{}"])
def test_a_fingerprint_that_cannot_be_read_stops_nobody(tmp_path, capsys, content):
    with pytest.raises(RuntimeError), session_of(tmp_path, {"a": 1}) as checkpoints:
        checkpoints.tidy()
        checkpoints.write(CHECKPOINT)
        raise RuntimeError
    file = checkpoints.folder / "fingerprint.json"
    file.unlink() if content is None else file.write_bytes(content)
    with session_of(tmp_path, {"a": 2}):
        assert capsys.readouterr().out.count("is not used, it differs in: fingerprint.json") == 1


HOLD = """
import sys
from pathlib import Path
from scratchformer.checkpoints.session import session_of
with session_of(Path(sys.argv[1]), {"a": int(sys.argv[2])}):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("other", [1, 2], ids=["same training", "same working folder"])
def test_a_second_trainer_ends_with_the_pid_of_the_first(tmp_path, other):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "root"), "1"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(BusyError, match=rf"pid {holder.pid}\)") as caught,
            session_of(tmp_path / "root", {"a": other}),
        ):
            pass
        assert "\n" not in str(caught.value)
        holder.kill()
        holder.wait()
    with session_of(tmp_path / "root", {"a": other}):  # a lock dies with its process
        pass


def test_the_owner_is_named_only_while_the_lock_is_held(tmp_path):
    with only_writer(tmp_path / "one.lock", "one"):
        assert (tmp_path / "one.lock.owner").read_text() == str(os.getpid())
    assert not (tmp_path / "one.lock.owner").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"machine.threads": 9, "run.threads": 9, "/other/place/model": "abc"}, None),
        ({"run.seed": 2}, "differ in: run.seed; give"),
        ({"data/train.arrow": None}, r"differ in: data/train.arrow; give"),
        ({"code:new.py": "abc"}, "differ in: what the first does not have; give"),
        ({f"p{at}": 1 for at in range(7)}, r"differ in: p0, p1, p2, p3, p4 and 2 more; give"),
    ],
)
def test_computers_must_agree_on_all_that_is_not_their_own(changes, told, monkeypatch):
    """Threads and where a package lies are each computer's own."""
    first = {"run.seed": 1, "data/train.arrow": "abc", **{f"p{at}": 0 for at in range(7)}}
    own = {**first, "machine.threads": 2, "run.threads": 2, "/place/model": "abc"}
    mine = {**own, **changes}
    if "/other/place/model" in changes:
        del mine["/place/model"]
    monkeypatch.setattr(agreement, "world_size", lambda: 2)
    sent = json.dumps(agreement._shared(own)).encode()
    monkeypatch.setattr(agreement, "broadcast_bytes", lambda content, device: sent)
    monkeypatch.setattr(agreement, "all_reduce_max", lambda values, device: values)
    if told is None:
        demand_agreement(mine)
    else:
        with pytest.raises(ParamsError, match=told):
            demand_agreement(mine)
