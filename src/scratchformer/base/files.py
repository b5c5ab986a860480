"""Files that are either complete or absent."""

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scratchformer.base.errors import DataError


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; rename it over `path` only if the block succeeds.

    A kill inside the block leaves whatever stood at `path` before, never half a file.
    """
    handle, name = tempfile.mkstemp(dir=_folder_for(path), prefix=_own_prefix(path))
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        # mkstemp makes files that only their owner reads; give back what a plain open() gives.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: what the block puts into the yielded folder replaces `path`.

    A folder cannot be renamed over another one, so for an instant there is none.
    """
    temporary = Path(tempfile.mkdtemp(dir=_folder_for(path), prefix=_own_prefix(path)))
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            path.replace(old)
        temporary.replace(path)
    finally:
        for folder in (temporary, old):
            if folder.exists():
                shutil.rmtree(folder)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with a stable layout; NaN and infinity are refused (ValueError)."""
    with write_whole(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file as UTF-8; ValueError when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_mapping(path: Path, fix: str = "") -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Args:
        fix: what the user can do about a damaged file, for the message.

    Raises:
        DataError: it is not JSON, or holds something else.
    """
    ending = f"; {fix}" if fix else ""
    try:
        value = read_json(path)
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON: {error}{ending}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a mapping, found {type(value).__name__}{ending}")
    return value


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks so that memory stays flat."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_prefix(path: Path) -> str:
    return f".{path.name}.{os.getpid()}-"


def _folder_for(path: Path) -> Path:
    """The folder of `path`, made if need be, without what killed processes left of `path` there."""
    import psutil

    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*-*"):
        pid = left.name.removeprefix(f".{path.name}.").partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
    return path.parent


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
