"""Files as they are committed: a person's own run changes reports/ and dvc.lock, and no test that
speaks of the committed results may fail by that."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


def committed(path: str) -> str:
    """The text of a file of the last commit; the test is skipped where there is no Git."""
    command = ["git", "show", f"HEAD:{path}"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        import pytest  # here: the figures of the book take DEFAULT_PARAMS, and need no tests

        pytest.skip(f"needs the committed {path}")
    return shown.stdout


def _default_params() -> Path:
    """params.yaml as Git has it: the staged one, so that a key that is being added can be tested
    before it is committed. Outside Git, the file as it is."""
    path = ROOT / "params.yaml"
    command = ["git", "show", ":params.yaml"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if shown.returncode or shown.stdout == path.read_bytes():
        return path
    copy = Path(_FOLDER.name) / "params.yaml"
    copy.write_bytes(shown.stdout)
    return copy


_FOLDER = TemporaryDirectory(prefix="scratchformer-tests-")  # removed as the process ends
# Tests start from the default parameters, whatever preset a person has merged into theirs.
DEFAULT_PARAMS = _default_params()
