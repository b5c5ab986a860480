"""What `evaluate` found out about a classifier, for those who use it: models/calibration/NAME.json.

It is fitted on the validation split, for every system by one function and in one stage, so that
their losses and calibration errors compare. The folder of a model is the output of its training,
so the file lies beside that folder; a model that is exported has it inside.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_mapping, write_json
from scratchformer.base.layout import CALIBRATION
from scratchformer.base.terminal import warn

FILE = "calibration.json"  # inside an exported model
_FIX = "make it again with: dvc repro evaluate"


@dataclass(frozen=True)
class Calibration:
    """How to read the logits of one classifier.

    Attributes:
        model: the word that `identity` gives for its folder.
        temperature: the logits are divided by it (evaluation/measures/temperature.py).
        labels: the name of each label, by id.
        descriptions: the words for each, by id.
    """

    model: str
    temperature: float
    labels: tuple[str, ...]
    descriptions: tuple[str, ...]

    def save(self, path: Path) -> None:
        write_json(path, asdict(self))


def identity(folder: Path) -> str:
    """A word that differs for another training: of its report, which has losses to all digits, and
    of the configuration. The weights themselves would take longer to hash than to use."""
    digest = hashlib.sha256()
    for name in ("config.json", "training.json"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:32]


def find_calibration(folder: Path) -> Path | None:
    """The file of a model: inside its folder, or where `evaluate` puts it; None without one."""
    places = (folder / FILE, folder.parent / CALIBRATION.name / f"{folder.name}.json")
    return next((place for place in places if place.is_file()), None)


def load_calibration(folder: Path) -> Calibration | None:
    """The calibration of a model; None where there is none, or one of an earlier training.

    Raises:
        DataError: the file is damaged.
    """
    path = find_calibration(folder)
    if path is None:
        return None
    try:
        found = _parse(read_mapping(path, _FIX))
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not a calibration ({error}); {_FIX}") from None
    if found.model != identity(folder):
        warn(f"{path} is of an earlier training; {_FIX}")
        return None
    return found


def _parse(values: Mapping[str, Any]) -> Calibration:
    model, temperature = values["model"], values["temperature"]
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise ValueError(f"temperature {temperature!r:.40} is no number")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature {temperature} is not above 0")
    labels, descriptions = values["labels"], values["descriptions"]
    for words in (labels, descriptions):
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("labels and descriptions are lists of texts")
    if len(labels) != len(descriptions):
        raise ValueError(f"{len(labels)} labels, but {len(descriptions)} descriptions")
    return Calibration(str(model), float(temperature), tuple(labels), tuple(descriptions))
