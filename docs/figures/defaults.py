"""params.yaml as it is committed: the book speaks of the defaults, whatever a person has set."""

import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]


def default_params() -> dict[str, Any]:
    """Of the last commit; outside Git, of the file as it is."""
    command = ["git", "show", "HEAD:params.yaml"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    text = shown.stdout if shown.returncode == 0 else (ROOT / "params.yaml").read_text("utf-8")
    document: dict[str, Any] = YAML(typ="safe").load(text)
    return document
