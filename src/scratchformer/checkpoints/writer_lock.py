"""One training writes to a folder at a time.

`kill -9` of DVC leaves the training it started running; the next `dvc repro` would start a second
one beside it. A lock of the operating system, which ends with its process however that dies,
keeps the second out.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from scratchformer.base.errors import ScratchformerError


class BusyError(ScratchformerError):
    """Another process is writing here."""

    exit_code = 2


@contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`, beside which `{path}.owner` names the process that holds it.

    Raises:
        BusyError: another process holds it; the message names `what` it works on and its pid.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = path.with_name(f"{path.name}.owner")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        pid = owner.read_text() if owner.exists() else "unknown"
        raise BusyError(
            f"{what} is being trained by another process (pid {pid}); "
            f"wait for it, or stop it with: kill {pid}"
        ) from None
    try:
        owner.write_text(str(os.getpid()))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()
