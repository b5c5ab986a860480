"""Trainings in folders of their own, several at once."""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

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


def end_all(running: "list[subprocess.Popen[bytes]]") -> None:
    """Ask those that still run to write a checkpoint and stop."""
    for process in running:
        process.terminate()
    for process in running:
        process.wait()


def run_folders(folders: Sequence[Path], workers: int, command: Sequence[str], log: Path) -> None:
    """Train in every folder that has no result yet; the folder is the last word of the command.

    Raises:
        DataError: one was not trained to the end.
    """
    waiting = [folder for folder in folders if not (folder / RESULT).is_file()]
    running: list[subprocess.Popen[bytes]] = []
    with ExitStack() as stack:
        stack.callback(end_all, running)
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(start([*command, str(waiting.pop(0))], log))
            time.sleep(LOOK)
            running[:] = [each for each in running if each.poll() is None]
    missing = [folder for folder in folders if not (folder / RESULT).is_file()]
    if missing:
        raise DataError(f"{missing[0]}: was not trained to the end; see {log}")
