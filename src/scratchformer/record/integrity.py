"""Hash again what dvc.lock names.

DVC trusts a file whose size and time of change are as it left them, and does not hash an object of
its cache when it puts it into the workspace, so a flipped byte comes back silently. This finds it.
"""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scratchformer.base.errors import DataError
from scratchformer.record.dvc_record import (
    cache_folder,
    dvc_hash,
    file_md5,
    object_path,
    paths_of,
    read_stages,
)


@dataclass
class Integrity:
    """What `verify_record` found."""

    files: int = 0
    damaged: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    not_made: list[str] = field(default_factory=list)  # outputs that this checkout never had


def verify_record(root: Path = Path()) -> Integrity:
    """Compare outputs and their cache objects with dvc.lock.

    Two things are no damage: a dependency that differs was edited, and DVC runs its stage again;
    an output that neither the workspace nor the cache has was not made here yet, as in a new clone.

    Raises:
        DataError: there is no dvc.lock.
    """
    locked = read_stages(root / "dvc.lock")
    if not locked:
        raise DataError("dvc.lock: nothing is recorded yet; run dvc repro first")
    definitions = read_stages(root / "dvc.yaml")
    cache = cache_folder(root)
    report = Integrity()
    outputs: set[str] = set()
    for name, stage in locked.items():
        cached = _cached_outputs(definitions.get(name, {}))
        for out in stage.get("outs", []):
            outputs.add(out["path"])
            in_cache = out["path"] in cached
            if _was_made(root, cache, out, in_cache):
                _verify_workspace(root, out, in_cache, report)
                if in_cache:
                    _verify_cache(cache, out, report)
            else:
                report.not_made.append(out["path"])
    for name, stage in locked.items():
        for dep in stage.get("deps", []):
            made = any(Path(dep["path"]).is_relative_to(out) for out in outputs)
            path = root / dep["path"]
            if not made and (not path.exists() or dvc_hash(path) != dep["md5"]):
                report.edited.append(f"{dep['path']}: changed since {name} ran (no damage)")
    return report


def _was_made(root: Path, cache: Path, out: dict[str, Any], in_cache: bool) -> bool:
    """Whether the output is, or should be, in this checkout; Git keeps what DVC does not cache."""
    if (root / out["path"]).exists():
        return True
    if in_cache:
        return object_path(cache, out["md5"]).exists()
    command = ["git", "ls-files", "--error-unmatch", out["path"]]
    try:
        return not subprocess.run(command, cwd=root, capture_output=True, check=False).returncode
    except OSError:  # no Git
        return False


def _verify_workspace(root: Path, out: dict[str, Any], in_cache: bool, report: Integrity) -> None:
    path = root / out["path"]
    report.files += out.get("nfiles", 1)
    if not path.exists():
        command = "dvc checkout" if in_cache else f"git restore {out['path']}"
        report.damaged.append(f"{out['path']}: missing; `{command}` brings it back")
    elif dvc_hash(path) != out["md5"]:
        report.damaged.append(
            f"{out['path']}: content differs from dvc.lock ({out['md5']}); "
            "delete it, then `dvc checkout` (or `dvc repro` if you edited it)"
        )


def _verify_cache(cache: Path, out: dict[str, Any], report: Integrity) -> None:
    """The object of an output and, for a folder, those of its files."""
    objects = [(out["md5"], out["path"])]
    listing = object_path(cache, out["md5"])
    if out["md5"].endswith(".dir") and listing.exists():
        try:
            entries = json.loads(listing.read_bytes())
            objects += [(entry["md5"], f"{out['path']}/{entry['relpath']}") for entry in entries]
        except (ValueError, KeyError, TypeError):
            pass  # the listing itself is damaged, which its own hash tells below
    for digest, name in objects:
        path = object_path(cache, digest)
        report.files += 1
        if not path.exists():
            report.damaged.append(
                f"{name}: not in DVC's cache ({path}); `dvc commit --force` if the workspace is "
                "sound, else `dvc pull` or `dvc repro --force`"
            )
        elif file_md5(path) != digest.removesuffix(".dir"):
            report.damaged.append(
                f"{name}: its cache object {path} is damaged; delete the object, then "
                "`dvc commit --force` if the workspace is sound, else `dvc pull` or "
                "`dvc repro --force`"
            )


def _cached_outputs(definition: dict[str, Any]) -> set[str]:
    entries = definition.get("outs") or []
    return {
        str(path)
        for path, entry in zip(paths_of(definition, "outs"), entries, strict=True)
        if not isinstance(entry, dict) or next(iter(entry.values())).get("cache", True)
    }
