"""SIGTERM and Ctrl-C end a search and a ladder with the trainings that they started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Stands for a training: its updates take a second, and between two of them it may be stopped.
TRAINING = """
import os, pathlib, time
from scratchformer.checkpoints.signals import stop_on_signals
with stop_on_signals() as stop:
    pathlib.Path("half").write_text(str(os.getpid()))
    pathlib.Path("half").rename("pid")
    while stop.signal_number is None:
        update = time.monotonic()
        while time.monotonic() < update + 1:
            time.sleep(0.05)
pathlib.Path("checkpoint").write_text("whole")
"""
LADDER = """
from pathlib import Path
from scratchformer.search.runs.processes import run_folders
run_folders([Path("folder")], 1, ["training"], Path("log"))
"""
SEARCH = """
from pathlib import Path
from scratchformer.search import pool
pool._TRIAL, pool._log = "training", lambda space: Path("log")
pool._run_trials(Path("space.yaml"), None, 1, lambda: None)
"""


@pytest.mark.parametrize("code", [LADDER, SEARCH], ids=["ladder", "search"])
def test_sigterm_ends_the_trainings_too_and_they_save_what_they_have(
    code: str, tmp_path: Path
) -> None:
    exit_code, said = stopped(code, tmp_path, lambda parent: parent.send_signal(signal.SIGTERM))
    assert exit_code == 128 + signal.SIGTERM
    assert said == "stopped by SIGTERM; the same command goes on from here\n"


def test_ctrl_c_reaches_the_trainings_once(tmp_path: Path) -> None:
    """From a terminal, which sends it to all processes that a command has started."""
    exit_code, said = stopped(LADDER, tmp_path, lambda parent: os.killpg(parent.pid, signal.SIGINT))
    assert exit_code == -signal.SIGINT
    assert said.startswith("the trainings save what they have; Ctrl-C again ends them at once\n")


def stopped(
    code: str, folder: Path, stop: Callable[["subprocess.Popen[str]"], None]
) -> tuple[int, str]:
    """Exit code and errors of a process that is stopped while its training runs; the training must
    have ended with it, and saved a checkpoint."""
    (folder / "training.py").write_text(TRAINING)
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{folder}"}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as parent:  # fmt: skip
        while not (folder / "pid").exists():
            assert parent.poll() is None, parent.communicate()[1]
            time.sleep(0.1)
        stop(parent)
        _, said = parent.communicate(timeout=60)
    child = int((folder / "pid").read_text())
    alive = subprocess.run(["kill", "-0", str(child)], capture_output=True, check=False)
    if alive.returncode == 0:  # end it before the test fails, or it would be left behind
        os.kill(child, signal.SIGKILL)
    assert alive.returncode != 0
    assert (folder / "checkpoint").read_text() == "whole"
    return parent.returncode, said
