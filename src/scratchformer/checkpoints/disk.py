"""A full disk, reported in one line."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from scratchformer.base.errors import ScratchformerError

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(ScratchformerError):
    """There is no room to write; what was whole before is whole still."""


@contextmanager
def full_disk_as_error(path: Path, size: int) -> Iterator[None]:
    """Turn the system's error about `path`, which needs `size` bytes, into a DiskFullError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if _system_error(error) not in _DISK_IS_FULL:
            raise
        raise DiskFullError(
            f"{path}: no room to write {size:,} bytes; make room on that disk and run the stage "
            "again; it resumes from its last checkpoint"
        ) from None


def _system_error(error: Exception) -> int | None:
    """The number of the system's error; safetensors has it in its message only."""
    if isinstance(error, OSError):
        return error.errno
    number = re.search(r"os error (\d+)", str(error))
    return int(number[1]) if number else None
