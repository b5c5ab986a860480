"""Trainings in processes of their own, several at once."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from scratchformer.base.errors import DataError
from scratchformer.search.runs.checkout import RESULT

_POLL_SECONDS = 0.5
_SECONDS_TO_SAVE = 60.0  # after Ctrl-C, until those that have not heard it are asked


def run_processes(
    next_command: Callable[[], Sequence[str] | None],
    workers: int,
    log: Path,
    on_exit: Callable[[int], None] = lambda code: None,
    on_poll: Callable[[], None] = lambda: None,
) -> None:
    """Run modules of this package, `workers` at a time, until none runs and none is left.

    Those that still run when an exception ends this (also Ctrl-C, SIGTERM) are asked to write a
    checkpoint and stop.

    Args:
        next_command: name of the next module and its arguments; None when there is none now. It
            is asked again after a process has ended.
        workers: processes at the same time.
        log: what they print is added to it.
        on_exit: called with each exit code.
        on_poll: called twice a second.
    """
    with _ended_with_us() as running:
        while True:
            while len(running) < workers and (command := next_command()) is not None:
                running.append(_start(command, log))
            if not running:
                return
            time.sleep(_POLL_SECONDS)
            for process in [each for each in running if each.poll() is not None]:
                running.remove(process)
                on_exit(process.returncode)
            on_poll()


def run_folders(folders: Sequence[Path], workers: int, command: Sequence[str], log: Path) -> None:
    """Train in every folder that has no result yet; the folder is the last word of the command.

    Raises:
        DataError: one was not trained to the end.
    """
    waiting = iter([folder for folder in folders if not (folder / RESULT).is_file()])

    def next_command() -> Sequence[str] | None:
        folder = next(waiting, None)
        return None if folder is None else [*command, str(folder)]

    run_processes(next_command, workers, log)
    missing = [folder for folder in folders if not (folder / RESULT).is_file()]
    if missing:
        raise DataError(f"{missing[0]}: the training did not finish; see {log}")


def _start(command: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@contextmanager
def _ended_with_us() -> "Iterator[list[subprocess.Popen[bytes]]]":
    """A list for the processes that must not outlive the block: whatever ends it asks them to write
    a checkpoint and stop, and waits for that.

    SIGTERM ends it as Ctrl-C does, with the exit code 143. It raises SystemExit, because no library
    in which it arrives catches that. A terminal sends Ctrl-C to the trainings too, and a second
    signal would end them at once: they are left to save, until Ctrl-C comes again.
    """
    running: list[subprocess.Popen[bytes]] = []
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield running
    except SystemExit:
        print("stopped by SIGTERM; the same command goes on from here", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("the trainings save what they have; Ctrl-C again ends them at once", file=sys.stderr)
        last = time.monotonic() + _SECONDS_TO_SAVE
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, last - time.monotonic()))
        raise
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
