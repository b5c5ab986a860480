"""The results that DVC has recorded: those of the workspace and of every experiment.

DVC knows them by hash. Their content is in its cache, or, for the outputs that are not cached, in
Git. Nothing is checked out to read them.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scratchformer.record.dvc_record import (
    cache_folder,
    folder_hash,
    locked_outs,
    object_path,
    overlap,
    parse_stages,
)

_EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")


@dataclass(frozen=True)
class Snapshot:
    """One dvc.lock, and what it takes to read the outputs that it names."""

    name: str | None  # of the experiment; None for the workspace
    baseline: str | None
    seconds: float  # when it was made, since the epoch
    stages: dict[str, dict[str, Any]]
    root: Path  # of the checkout
    read: Callable[[str], bytes | None]  # a file that Git tracks

    @cached_property
    def cache(self) -> Path:
        """DVC's cache: finding it takes half a second, so it is looked for when it is needed."""
        return cache_folder(self.root)

    def current_stages(self) -> dict[str, dict[str, Any]]:
        """The stages whose results belong together: each was run on what the others made.

        A stage is stale if one of its inputs is another now, or was made by a stale stage. Outputs
        and inputs may be folders that hold each other: `tokenize` makes data/tokenized, and a
        training reads data/tokenized/scratch.
        """
        stale: set[str] = set()
        while True:
            current = {name: stage for name, stage in self.stages.items() if name not in stale}
            made = {Path(path): md5 for stage in current.values()
                    for path, md5 in locked_outs(stage).items()}  # fmt: skip
            lost = {Path(path) for name in stale for path in locked_outs(self.stages[name])}
            found = {name for name, stage in current.items() if self._is_stale(stage, made, lost)}
            if not found:
                return current
            stale |= found

    def _is_stale(self, stage: dict[str, Any], made: Mapping[Path, str], lost: set[Path]) -> bool:
        """Whether an input of `stage` is not what the outputs `made` hold, or is one of `lost`."""
        for dep in stage.get("deps") or []:
            path, md5 = Path(dep["path"]), dep.get("md5")
            if any(overlap(path, out) for out in lost):
                return True
            if (made.get(path) or self._hash_of(path, made) or md5) != md5:
                return True
        return False

    def _hash_of(self, path: Path, made: Mapping[Path, str]) -> str | None:
        """DVC's hash of a path that lies in outputs, or is a folder of nothing but outputs; None
        if it is neither, or if the cache lacks the listing of such an output."""
        outs = {out: md5 for out, md5 in made.items() if overlap(path, out)}
        if not outs:
            return None
        files: dict[Path, str] = {}
        for out, md5 in outs.items():
            listing = object_path(self.cache, md5)
            if not md5.endswith(".dir"):
                files[out] = md5
            elif listing.exists():
                entries = json.loads(listing.read_bytes())
                files |= {out / entry["relpath"]: entry["md5"] for entry in entries}
            else:
                return None
        below = {file.relative_to(path).as_posix(): md5 for file, md5 in files.items()
                 if path in file.parents}  # fmt: skip
        return files.get(path) or folder_hash(below)

    @property
    def outs(self) -> dict[Path, str]:
        """Every output and its hash."""
        return {Path(out): md5 for stage in self.stages.values() for out, md5 in
                locked_outs(stage).items()}  # fmt: skip

    def hash_of(self, path: Path) -> str | None:
        """DVC's hash of an output or of a file or folder in one; None if it is not known."""
        outs = self.outs
        return outs.get(path) or (self._hash_of(path, outs) if self._holds(path) else None)

    def _holds(self, path: Path) -> bool:
        """Whether `path` lies in a folder whose listing the cache has, and which names it."""
        for out, md5 in self.outs.items():
            listing = object_path(self.cache, md5)
            if out in path.parents and md5.endswith(".dir") and listing.exists():
                names = {Path(entry["relpath"]) for entry in json.loads(listing.read_bytes())}
                inside = path.relative_to(out)
                return any(inside == name or inside in name.parents for name in names)
        return False

    def fetch(self, path: Path, folder: Path) -> Path | None:
        """Put a file or a folder of the outputs below `folder`; None if its content is not here.

        Files of a folder are hard links to DVC's cache where the file system allows that: read
        only, and without a second copy.
        """
        outs = self.outs
        out = next((out for out in outs if path == out or out in path.parents), None)
        if out is None:
            return None
        target = folder / path
        if not outs[out].endswith(".dir"):
            content = self._content(out, outs[out])
            return _write(target, content) if content is not None else None
        listing = object_path(self.cache, outs[out])
        if not listing.exists():
            return None
        for entry in json.loads(listing.read_bytes()):
            file = out / entry["relpath"]
            if file == path or path in file.parents:
                source = object_path(self.cache, entry["md5"])
                if not source.exists():
                    return None
                _link(source, folder / file)
        return target if target.exists() else None

    def _content(self, path: Path, md5: str) -> bytes | None:
        cached = object_path(self.cache, md5)
        if cached.exists():
            return cached.read_bytes()
        content = self.read(path.as_posix())
        if content is None or hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            return None
        return content


def workspace_snapshot(root: Path) -> Snapshot | None:
    """What dvc.lock of the checkout names; None without it."""
    lock = root / "dvc.lock"
    if not lock.exists():
        return None

    def read(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    stages = parse_stages(lock.read_bytes(), "dvc.lock")
    return Snapshot(None, None, lock.stat().st_mtime, stages, root, read)


def experiment_snapshots(root: Path) -> Iterator[Snapshot]:
    """What the dvc.lock of every experiment (`dvc exp list --all`) names, the oldest first."""
    listing = _git(root, "for-each-ref", "--sort=committerdate", "refs/exps",
                   "--format=%(objectname) %(committerdate:unix) %(refname)")  # fmt: skip
    for line in (listing or b"").decode().splitlines():
        commit, seconds, reference = line.split(" ", 2)
        match = _EXPERIMENT.fullmatch(reference)
        lock = _git(root, "show", f"{commit}:dvc.lock") if match else None
        if match is None or lock is None:
            continue  # a reference of DVC's own, or an experiment that ran no stage

        def read(path: str, commit: str = commit) -> bytes | None:
            return _git(root, "show", f"{commit}:{path}")

        stages = parse_stages(lock, f"{match[3]}:dvc.lock")
        yield Snapshot(match[3], match[1] + match[2], float(seconds), stages, root, read)


def _git(root: Path, *arguments: str) -> bytes | None:
    """Output of a git command; None if it fails or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
