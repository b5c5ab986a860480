"""A full disk, told in one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scratchformer.errors import ScratchformerError

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(ScratchformerError):
    """There is no room to write; what was whole before is whole still."""


@contextmanager
def full_disk_told(path: Path, size: int) -> Iterator[None]:
    """Turn the system's error about `path`, which needs `size` bytes, into a DiskFullError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_IS_FULL:
            raise
        raise DiskFullError(
            f"{path}: no room to write {size:,} bytes; make room on that disk and run the stage "
            "again, it goes on from its last checkpoint"
        ) from None
