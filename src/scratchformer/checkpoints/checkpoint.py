"""Checkpoints: whole or absent, checked when read, never a pickle.

    <folder>/step-00000500/
        model.safetensors      weights
        optimizer.safetensors  what the optimizer remembers
        best.safetensors       weights of the best validation so far
        average.safetensors    averages of weights, where a training holds some
        state.json             step, counters, how long the history files were
        manifest.json          size and SHA-256 of each file above

A checkpoint is written under a temporary name, flushed to the disk and renamed once. The last two
stay; each holds the best weights itself, so the older one is complete if the newer is damaged.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from scratchformer.base.errors import ScratchformerError
from scratchformer.base.files import write_whole_folder
from scratchformer.base.terminal import say
from scratchformer.checkpoints.disk import DiskFullError, full_disk_as_error

CHECKPOINTS_KEPT = 2


class DamagedError(ScratchformerError):
    """The bytes of a checkpoint are not those that were written."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `step` updates.

    Attributes:
        tensors: file name without suffix → name → tensor.
        facts: everything else, fit for JSON.
    """

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    facts: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder that only their one writer touches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tidy(self) -> None:
        """Make the folder; remove what a killed writer left behind under a temporary name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".step-*"):
            shutil.rmtree(leftover)

    def check_space(self, bytes_of_one: int) -> None:
        """Raise DiskFullError unless the kept checkpoints and one being written have room."""
        needed = (CHECKPOINTS_KEPT + 1 - len(self._paths())) * bytes_of_one
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise DiskFullError(
                f"{self.folder}: checkpoints need {needed:,} bytes, {free:,} are free; "
                "make room on that disk"
            )

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove all but the last two.

        Raises:
            DiskFullError: the disk is full; earlier checkpoints are intact.
        """
        path = self.folder / f"step-{checkpoint.step:08d}"
        contents = {f"{name}.safetensors": save(dict(t)) for name, t in checkpoint.tensors.items()}
        facts = {"step": checkpoint.step, **checkpoint.facts}
        contents["state.json"] = json.dumps(facts, indent=2, allow_nan=False).encode()
        contents["manifest.json"] = _manifest(contents)
        with full_disk_as_error(path, sum(map(len, contents.values()))):
            with write_whole_folder(path) as temporary:
                for name, content in contents.items():
                    _write(temporary / name, content)
                _flush_folder(temporary)
            _flush_folder(self.folder)
        for old in self._paths()[:-CHECKPOINTS_KEPT]:
            _remove(old)
        return path

    def newest(self, unusable: Callable[[Mapping[str, Any]], str | None]) -> Checkpoint | None:
        """The newest sound checkpoint; None when there is none. Damaged ones are removed, with a
        warning.

        `unusable` looks at the facts and says why the checkpoint cannot be resumed, or None.
        """
        for path in reversed(self._paths()):
            try:
                checkpoint = read_checkpoint(path)
                reason = unusable(checkpoint.facts)
            except DamagedError as error:
                reason = str(error)
            if reason is None:
                return checkpoint
            say(f"checkpoint {path.name} is damaged ({reason}); using the one before, if any")
            _remove(path)
        return None

    def remove(self) -> None:
        """Everything goes, once the stage's outputs are in place."""
        shutil.rmtree(self.folder)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and prove that its bytes are those that were written.

    Raises:
        DamagedError: a file is missing, unreadable, additional, or has other bytes.
    """
    try:
        contents = {file.name: file.read_bytes() for file in path.iterdir()}
    except OSError as error:
        raise DamagedError(f"{error.filename}: {error.strerror}") from None
    written = contents.pop("manifest.json", b"")
    # Compared as bytes, so that no change of the manifest itself goes unnoticed either.
    if written != _manifest(contents):
        raise DamagedError(_what_differs(written, contents))
    facts = json.loads(contents.pop("state.json"))
    tensors = {name.removesuffix(".safetensors"): load(data) for name, data in contents.items()}
    return Checkpoint(facts.pop("step"), tensors, facts)


def _manifest(contents: Mapping[str, bytes]) -> bytes:
    files = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(contents.items())
    }
    return json.dumps({"files": files}, indent=2).encode()


def _what_differs(written: bytes, contents: Mapping[str, bytes]) -> str:
    try:
        listed = json.loads(written)["files"]
    except (ValueError, KeyError, TypeError):
        return "manifest.json is not readable"
    actual = json.loads(_manifest(contents))["files"]
    names = listed.keys() | actual.keys() if isinstance(listed, dict) else []
    wrong = sorted(name for name in names if listed.get(name) != actual.get(name))
    return f"not as manifest.json has it: {', '.join(wrong) or 'manifest.json'}"


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    """Under a temporary name first: whoever looks meanwhile finds it whole or not at all."""
    shutil.rmtree(path.rename(path.with_name(f".{path.name}.old")))


def _flush_folder(path: Path) -> None:
    """Names are data of the folder: they too must reach the disk (Windows has no such call)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
