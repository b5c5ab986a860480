"""Where things are kept: in the checkout the person works in, also under `dvc exp run --queue`.

DVC runs queued experiments in a copy under `.dvc/tmp/exps/` and deletes it afterwards. What must
outlive the stage (checkpoints, the MLflow store) therefore goes to the original checkout.
"""

import os
from pathlib import Path

_EXPERIMENT_COPIES = "/.dvc/tmp/exps/"


def workspace_root() -> Path:
    """The person's checkout: `DVC_ROOT` (set by DVC for its stages) or the current folder,
    with the part below `.dvc/tmp/exps` cut off."""
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve().as_posix()
    return Path((root + "/").split(_EXPERIMENT_COPIES)[0])


def checkpoint_root(stage: str) -> Path:
    """The folder that holds the checkpoints of one stage."""
    return workspace_root() / ".checkpoints" / stage


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path` lies in `folder` by its name, links not followed: DVC hashes what a link in a
    folder points at, and so notices when that changes."""
    here = Path.cwd()
    return Path(os.path.normpath(here / path)).is_relative_to(os.path.normpath(here / folder))
