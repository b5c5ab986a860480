"""Which recorded results belong together, when folders hold what other stages read."""

import json
from pathlib import Path
from typing import Any

import pytest

from scratchformer.record.dvc_record import folder_hash, object_path
from scratchformer.tracking.mirror.snapshot import Snapshot

Tree = dict[str, str]


def md5(letter: str) -> str:
    return letter * 32


class Record:
    """A dvc.lock and its cache: `tokenize` makes a folder, a training reads a part of it, and the
    report reads a folder that holds the histories of two trainings."""

    def __init__(self, root: Path) -> None:
        self.root, self.cache = root, root / ".dvc" / "cache"
        self.stages: dict[str, Any] = {}
        tokens = {"scratch/train": md5("1"), "finetune/train": md5("2")}
        self.stage("tokenize", {}, {"data/tokenized": self.folder(tokens)})
        self.stage("train_scratch", {"data/tokenized/scratch": folder_hash({"train": md5("1")})},
                   {"models/scratch": md5("a"), "history/scratch": self.folder({"x": md5("3")})})
        self.stage("finetune", {"data/tokenized/finetune/train": md5("2")},
                   {"models/finetuned": md5("b"), "history/finetune": self.folder({"y": md5("4")})})
        history = folder_hash({"scratch/x": md5("3"), "finetune/y": md5("4")})
        self.stage("visualize", {"history": history, "code.py": md5("c")}, {"report": md5("d")})

    def folder(self, files: Tree) -> str:
        """Put the listing of a folder into the cache; its hash."""
        digest = folder_hash(files)
        listing = object_path(self.cache, digest)
        listing.parent.mkdir(parents=True, exist_ok=True)
        entries = [{"md5": value, "relpath": name} for name, value in sorted(files.items())]
        listing.write_text(json.dumps(entries))
        return digest

    def stage(self, name: str, deps: Tree, outs: Tree) -> None:
        self.stages[name] = {
            kind: [{"path": path, "md5": value} for path, value in paths.items()]
            for kind, paths in {"deps": deps, "outs": outs}.items()
        }

    def current(self) -> set[str]:
        snapshot = Snapshot(None, None, 0.0, self.stages, self.root, lambda _: None)
        return set(snapshot.current_stages())


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path)


def test_a_record_without_changes_is_current_as_a_whole(record: Record) -> None:
    assert record.current() == {"tokenize", "train_scratch", "finetune", "visualize"}


@pytest.mark.parametrize(
    ("tokens", "current"),
    [
        ({"scratch/train": md5("9"), "finetune/train": md5("2")}, {"tokenize", "finetune"}),
        ({"scratch/train": md5("1"), "finetune/train": md5("9")}, {"tokenize", "train_scratch"}),
        ({"scratch/train": md5("9")}, {"tokenize"}),  # the other folder is gone
    ],
)
def test_a_part_of_a_folder_that_was_made_anew_makes_its_reader_stale(
    record: Record, tokens: Tree, current: set[str]
) -> None:
    """`dvc repro tokenize`: the trainings, and the report on them, are those of the old tokens."""
    record.stage("tokenize", {}, {"data/tokenized": record.folder(tokens)})
    assert record.current() == current


def test_a_part_that_was_made_anew_makes_the_reader_of_the_whole_stale(record: Record) -> None:
    deps = {"data/tokenized/scratch": folder_hash({"train": md5("1")})}
    outs = {"models/scratch": md5("a"), "history/scratch": record.folder({"x": md5("9")})}
    record.stage("train_scratch", deps, outs)
    assert record.current() == {"tokenize", "train_scratch", "finetune"}


def test_order_in_dvc_lock_does_not_matter(record: Record) -> None:
    record.stage("tokenize", {}, {"data/tokenized": record.folder({"scratch/train": md5("9")})})
    record.stages = dict(reversed(record.stages.items()))
    assert record.current() == {"tokenize"}


def test_a_folder_whose_listing_is_not_here_is_taken_as_recorded(record: Record) -> None:
    """A new clone has dvc.lock and no cache: what was committed together belongs together."""
    for path in record.cache.rglob("*.dir"):
        path.unlink()
    assert record.current() == {"tokenize", "train_scratch", "finetune", "visualize"}
