"""What dvc.yaml and dvc.lock say, where DVC's cache is, and the hash that DVC gives to a file or a
folder.

dvc.yaml and dvc.lock are read here, in milliseconds: to import DVC and ask it takes a second.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchformer.base.errors import DataError
from scratchformer.base.mappings import flatten

_IGNORED_FOLDERS = {"__pycache__"}  # the same as in .dvcignore


def read_stages(path: Path = Path("dvc.yaml")) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml or of dvc.lock by name, in the order of the file; {} without it."""
    return parse_stages(path.read_bytes(), str(path)) if path.exists() else {}


def parse_stages(content: bytes, path: str) -> dict[str, dict[str, Any]]:
    """The same for the content of such a file.

    Raises:
        DataError: it is none.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(content.decode()) or {}
        return dict(document.get("stages") or {})
    except (YAMLError, UnicodeDecodeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a file that DVC wrote: {reason}") from None


def paths_of(stage: dict[str, Any], kind: str) -> list[Path]:
    """The `deps` or `outs` of a stage of dvc.yaml, whether written plainly or with options."""
    entries = stage.get(kind) or []
    return [Path(next(iter(entry)) if isinstance(entry, dict) else entry) for entry in entries]


def overlap(a: Path, b: Path) -> bool:
    """Whether two paths are the same, or one is a folder that holds the other."""
    return a == b or a in b.parents or b in a.parents


def select_params(stage: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The flat part of nested `values` that a stage of dvc.yaml declares to read.

    >>> select_params({"params": ["run.seed"]}, {"run": {"seed": 1, "threads": 2}})
    {'run.seed': 1}
    """
    names = [name for name in stage.get("params") or [] if isinstance(name, str)]
    return {
        key: value
        for key, value in flatten(values)
        if any(key == name or key.startswith(name + ".") for name in names)
    }


def locked_outs(stage: dict[str, Any]) -> dict[str, str]:
    """The outputs of a stage of dvc.lock and their hashes."""
    return {str(out["path"]): str(out["md5"]) for out in stage.get("outs") or [] if "md5" in out}


def locked_params(stages: dict[str, Any]) -> dict[str, Any]:
    """The flat parameters that all stages of dvc.lock were run with."""
    values: dict[str, Any] = {}
    for stage in stages.values():
        for name, value in ((stage.get("params") or {}).get("params.yaml") or {}).items():
            values.update(flatten(value, name))
    return values


def cache_folder(root: Path) -> Path:
    """DVC's cache, as DVC itself finds it: `cache.dir` of config.local, of .dvc/config, of the
    person's or of the machine's configuration, else .dvc/cache.

    Importing DVC's reader takes half a second, so only commands that look into the cache ask.

    Raises:
        DataError: one of these files is not readable.
    """
    from dvc.config import Config, ConfigError

    folder = root.resolve() / ".dvc"
    try:
        config = Config(dvc_dir=str(folder), validate=False)
    except ConfigError as error:
        raise DataError(f"DVC's {error}; see dvc config --list --show-origin") from None
    return Path(config.get("cache", {}).get("dir") or folder / "cache").resolve()


def object_path(cache: Path, digest: str) -> Path:
    """Where DVC 3 keeps the object with this `md5`."""
    return cache / "files" / "md5" / digest[:2] / digest[2:]


def dvc_hash(path: Path) -> str:
    """The `md5` of a file or a folder as dvc.lock has it; a folder's ends in `.dir`.

    Raises:
        FileNotFoundError: nothing is there.
    """
    if not path.is_dir():
        return file_md5(path)
    return folder_hash({
        file.relative_to(path).as_posix(): file_md5(file)
        for file in path.rglob("*")
        if file.is_file() and _IGNORED_FOLDERS.isdisjoint(file.relative_to(path).parts)
    })


def folder_hash(files: Mapping[str, str]) -> str:
    """The `md5` that DVC gives to a folder of files: relative path → `md5`."""
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    listing = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"


def file_md5(path: Path) -> str:
    """Hexadecimal MD5 of a file, read in blocks so that memory stays flat."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
