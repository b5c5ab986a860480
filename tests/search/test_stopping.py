"""SIGTERM ends a search and a ladder with the trainings that they started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Stands for a training: it writes a checkpoint when it is asked to stop.
TRAINING = """
import os, pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path("checkpoint").write_text("whole")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
pathlib.Path("half").write_text(str(os.getpid()))
pathlib.Path("half").rename("pid")
time.sleep(60)
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
    (tmp_path / "training.py").write_text(TRAINING)
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}"}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.PIPE,
        text=True,
    ) as parent:  # fmt: skip
        while not (tmp_path / "pid").exists():
            assert parent.poll() is None, parent.communicate()[1]
            time.sleep(0.1)
        parent.send_signal(signal.SIGTERM)
        _, said = parent.communicate(timeout=60)
    child = int((tmp_path / "pid").read_text())
    alive = subprocess.run(["kill", "-0", str(child)], capture_output=True, check=False)
    if alive.returncode == 0:  # end it before the test fails, or it would be left behind
        os.kill(child, signal.SIGKILL)
    assert parent.returncode == 128 + signal.SIGTERM
    assert said == "stopped by SIGTERM; the same command goes on from here\n"
    assert alive.returncode != 0
    assert (tmp_path / "checkpoint").read_text() == "whole"
