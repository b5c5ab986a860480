"""Trainings in folders of their own, several at once."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from scratchformer.base.errors import DataError
from scratchformer.search.runs.checkout import RESULT

LOOK = 0.5  # seconds between two looks at the processes


def start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Run a module of this package with its arguments; what it prints goes to the log."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def ended_with_us() -> "Iterator[list[subprocess.Popen[bytes]]]":
    """A list for the processes that must not outlive the block: whatever ends it asks them to write
    a checkpoint and stop, and waits for that.

    SIGTERM ends it as Ctrl-C does, with the exit code 143. It raises SystemExit, because no library
    in which it arrives catches that.
    """
    running: list[subprocess.Popen[bytes]] = []
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield running
    except SystemExit:
        print("stopped by SIGTERM; the same command goes on from here", file=sys.stderr)
        raise
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def run_folders(folders: Sequence[Path], workers: int, command: Sequence[str], log: Path) -> None:
    """Train in every folder that has no result yet; the folder is the last word of the command.

    Raises:
        DataError: one was not trained to the end.
    """
    waiting = [folder for folder in folders if not (folder / RESULT).is_file()]
    with ended_with_us() as running:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(start([*command, str(waiting.pop(0))], log))
            time.sleep(LOOK)
            running[:] = [each for each in running if each.poll() is None]
    missing = [folder for folder in folders if not (folder / RESULT).is_file()]
    if missing:
        raise DataError(f"{missing[0]}: was not trained to the end; see {log}")
