"""The folder in which one training of a search runs: links to its inputs, and its own params.yaml.

There are links to the training and the validation split only, so that the test split does not even
exist where a choice is made. The checkpoints lie in the folder too: a training whose process died
goes on from them, as it would in the checkout, and ends with the same bytes.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_json, sha256, write_json
from scratchformer.base.layout import (
    PREPARED,
    PRETRAINED,
    SPLITS,
    TOKENIZED,
    TOKENIZERS,
    TRACKS,
    Track,
)
from scratchformer.base.mappings import curve_name
from scratchformer.params import Params, load_params, parse_params
from scratchformer.tracking import StageRun

OnValidation = Callable[[int, Mapping[str, float]], None]
RESULT = Path("result.json")
_FILES = tuple(f"{split}{side}" for split in SPLITS for side in ("", "_target"))  # of a source


class WatchedRun(StageRun):
    """What a stage reports to: each validation is handed on, the rest is left to the files."""

    def __init__(self, on_validation: OnValidation) -> None:
        super().__init__(None)
        self._on_validation = on_validation

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        prefix = curve_name("valid", "")
        found = {
            name.removeprefix(prefix): value
            for name, value in values.items()
            if name.startswith(prefix)
        }
        if found:
            self._on_validation(step, found)


def inputs_of(track: Track) -> list[Path]:
    """What the training of a track reads, relative to the root of the checkout."""
    tokens = TOKENIZED / track.name
    return [
        *(tokens / name for name in ("train.arrow", "valid.arrow", "info.json")),
        TOKENIZERS / track.name,
        PREPARED / track.name / "info.json",
    ]


def fingerprint(root: Path, track: Track) -> dict[str, str]:
    """The digests of the rows: results of other rows are not comparable.

    Raises:
        DataError: the rows are not there.
    """
    paths = [path for path in inputs_of(track) if path.suffix == ".arrow"]
    for path in paths:
        if not (root / path).is_file():
            raise DataError(f"{path} not found; make it with: dvc repro tokenize")
    return {path.as_posix(): sha256(root / path) for path in paths}


def link(root: Path, folder: Path, path: Path) -> None:
    """Let `path` below `folder` be the one below `root`, if that is there."""
    here = folder / path
    if (root / path).exists() and not here.is_symlink():
        here.parent.mkdir(parents=True, exist_ok=True)
        here.symlink_to(root / path)


def make_folder(folder: Path, root: Path, track: Track, params: Params) -> None:
    """Make the folder, with links to the inputs below `root`; one that stands is left as it is,
    but for links that are missing."""
    for path in [*inputs_of(track), PRETRAINED]:
        link(root, folder, path)
    write_json(folder / "params.yaml", params.model_dump(mode="json"))  # JSON is YAML too


def params_with(
    params: Params, values: Mapping[str, Any], root: Path, seed: int | None = None
) -> Params:
    """The parameters with some keys changed, for a folder elsewhere: files are named from `root`.

    Raises:
        ParamsError: together they are not valid.
    """
    document = params.model_dump(mode="json")
    other = {} if seed is None else {"run.seed": seed}
    for key, value in {**values, **other, "tracking.enabled": False}.items():
        *sections, last = key.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[last] = value
    if document["pretrained"]["kind"] == "folder":
        _from_root(document["pretrained"], ["name"], root)
    for track in TRACKS:
        if document["prepare"][track]["source"]["kind"] == "files":
            _from_root(document["prepare"][track]["source"], _FILES, root)
    return parse_params(document, Path("params.yaml"))


def _from_root(section: dict[str, Any], keys: Iterable[str], root: Path) -> None:
    for key in keys:
        if section.get(key) is not None:
            section[key] = str(root / section[key])


def train_in(folder: Path, track: Track, on_validation: OnValidation) -> dict[str, Any]:
    """Train what the folder's params.yaml says, or go on where a dead process stopped.

    Returns:
        `valid`, the scores of the validation that counts; `best_step` and `steps`; the number of
        `parameters`; `weights`, the digest of the model. The model itself is removed: `dvc repro`
        makes that of the settings one keeps.
    """
    import shutil

    from scratchformer.stages.finetune import finetune
    from scratchformer.stages.runner import set_threads
    from scratchformer.stages.train_scratch import train_scratch

    stages = {"train_scratch": train_scratch, "finetune": finetune}
    with chdir(folder):
        if RESULT.is_file():
            finished: dict[str, Any] = read_json(RESULT)
            return finished
        os.environ.pop("DVC_ROOT", None)  # or the checkpoints would lie in the checkout
        params = load_params()
        set_threads(params.run.threads)
        stages[track.stage](params, WatchedRun(on_validation))
        found = read_json(track.model / "training.json")
        result = {
            "valid": found["valid"],
            "best_step": found["best_step"],
            **{name: found[name] for name in ("steps", "parameters") if name in found},
            "weights": sha256(track.model / "model.safetensors"),
        }
        write_json(RESULT, result)
        shutil.rmtree(track.model)
    return result
