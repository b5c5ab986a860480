"""What a trial trains on: the rows of the checkout, or rows that its values made from them.

Keys of `prepare`, `tokenize` and `pretrained` are read by earlier stages. These run in a folder of
their own, once for each set of such values, and the trials that share the set have links to it.
Their test split is removed as soon as it is made.

Values of trials can be compared only if they are about the same validation rows, and, where a
measure is a mean over tokens, about the same target tokens. Both are checked against the checkout.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

from filelock import FileLock

from scratchformer.base.errors import DataError
from scratchformer.base.files import sha256, write_json
from scratchformer.base.layout import PREPARED, PRETRAINED, TOKENIZED, TRACKS, Track
from scratchformer.base.measures import Measure
from scratchformer.base.workspace import workspace_root
from scratchformer.params import Params
from scratchformer.search.runs.checkout import link, params_with
from scratchformer.search.space import Space
from scratchformer.tracking import StageRun

_READY = Path("ready.json")
_RAW = Path("data/raw")


def inputs_root(space: Space, params: Params, values: Mapping[str, Any], folder: Path) -> Path:
    """Where the tokenized rows for these values lie: the checkout, or a folder below `folder`.

    Raises:
        DataError: they are not comparable with those of the checkout.
        ScratchformerError: an earlier stage refused the values.
    """
    earlier = {key: value for key, value in values.items() if not key.startswith(f"{space.stage}.")}
    if not earlier:
        return workspace_root()
    name = hashlib.sha256(json.dumps(earlier, sort_keys=True).encode()).hexdigest()[:16]
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        if not (place / _READY).is_file():
            _make(place, earlier, params_with(params, earlier, workspace_root()))
            write_json(place / _READY, earlier)
        check_comparable(workspace_root(), place, space.track, space.scored_by)
    return place


def _make(place: Path, earlier: Mapping[str, Any], params: Params) -> None:
    """Run what comes before a training; `prepare` only if it reads one of the values."""
    from scratchformer.stages.prepare import prepare
    from scratchformer.stages.tokenize import tokenize

    root = workspace_root()
    for path in (_RAW, PRETRAINED):
        link(root, place, path)
    write_json(place / "params.yaml", params.model_dump(mode="json"))
    prepared_anew = any(key.startswith("prepare.") for key in earlier)
    if not prepared_anew:
        link(root, place, PREPARED)
    with chdir(place):
        if prepared_anew:
            prepare(params, StageRun(None))
        tokenize(params, StageRun(None))
    for track in TRACKS:
        (place / TOKENIZED / track / "test.arrow").unlink()
        if prepared_anew:
            (place / PREPARED / track / "test.parquet").unlink()


def check_comparable(root: Path, place: Path, track: Track, measure: Measure) -> None:
    """Refuse rows by which a trial would look better or worse than it is.

    Raises:
        DataError: other validation rows, or other target tokens under a mean over tokens.
    """
    import pyarrow as pa

    valid = PREPARED / track.name / "valid.parquet"
    if sha256(place / valid) != sha256(root / valid):
        raise DataError(
            "these values give other rows in the validation split than params.yaml: the trials "
            "could not be compared"
        )
    if measure.share_of_rows:
        return

    def targets(folder: Path) -> Any:
        path = str(folder / TOKENIZED / track.name / "valid.arrow")
        table = pa.ipc.open_file(pa.memory_map(path)).read_all()
        return table["target"] if "target" in table.column_names else None

    if targets(place) != targets(root):
        raise DataError(
            f"these values give other target tokens than params.yaml, and {measure.key} counts "
            "tokens: the trials could not be compared; take a measure of whole rows, as exact_match"
        )
