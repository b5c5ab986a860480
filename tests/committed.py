"""Files as they are committed: a person's own run changes reports/ and dvc.lock, and no test that
speaks of the committed results may fail by that."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def committed(path: str) -> str:
    """The text of a file of the last commit; the test is skipped where there is no Git."""
    command = ["git", "show", f"HEAD:{path}"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip(f"needs the committed {path}")
    return shown.stdout
