"""The folder in which one training of a search runs: links to its inputs, and its own params.yaml.

There are links to the training and the validation split only, so that the test split does not even
exist where a choice is made. The checkpoints lie in the folder too: a training whose process died
goes on from them, as it would in the checkout, and ends with the same bytes.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_json, sha256, write_json
from scratchformer.base.layout import PREPARED, PRETRAINED, TOKENIZED, TOKENIZERS, Track
from scratchformer.params import Params, load_params, parse_params
from scratchformer.tracking import StageRun

OnValidation = Callable[[int, Mapping[str, float]], None]
RESULT = Path("result.json")


class WatchedRun(StageRun):
    """What a stage reports to: each validation is handed on, the rest is left to the files."""

    def __init__(self, on_validation: OnValidation) -> None:
        super().__init__(None)
        self._on_validation = on_validation

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        found = {
            name.removeprefix("valid."): value
            for name, value in values.items()
            if name.startswith("valid.")
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


def make_folder(folder: Path, root: Path, track: Track, params: Params) -> None:
    """Make the folder; one that stands is left as it is, but for links that are missing."""
    for path in [*inputs_of(track), PRETRAINED]:
        link = folder / path
        if (root / path).exists() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(root / path)
    write_json(folder / "params.yaml", params.model_dump(mode="json"))  # JSON is YAML too


def params_with(params: Params, values: Mapping[str, Any], root: Path, seed: int) -> Params:
    """The parameters with some keys changed, for a folder elsewhere.

    Raises:
        ParamsError: together they are not valid.
    """
    document = params.model_dump(mode="json")
    for key, value in {**values, "run.seed": seed, "tracking.enabled": False}.items():
        *sections, last = key.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[last] = value
    if params.pretrained.kind == "folder":
        document["pretrained"]["name"] = str(root / params.pretrained.name)
    return parse_params(document, Path("params.yaml"))


def train_in(folder: Path, track: Track, on_validation: OnValidation) -> dict[str, Any]:
    """Train what the folder's params.yaml says, or go on where a dead process stopped.

    Returns:
        `valid`, the scores of the validation that counts; `best_step`; `weights`, the digest of the
        model. The model itself is removed: `dvc repro` makes that of the settings one keeps.
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
            "weights": sha256(track.model / "model.safetensors"),
        }
        write_json(RESULT, result)
        shutil.rmtree(track.model)
    return result
