"""No key of params.yaml without a test that it reaches what it promises to change.

The dictionaries `ARRIVES` of the rooms say of each key how that is seen. What they claim is
compared with the schema: a new key without an entry is named here, and so is an entry of a key
that is gone.
"""

import typing
from collections.abc import Iterator

from pydantic import BaseModel
from tests.data.test_parameters_arrive import ARRIVES as PREPARE
from tests.data.test_parameters_arrive import SOURCE_ARRIVES as SOURCE
from tests.data.test_parameters_arrive import TOKENIZE_ARRIVES as TOKENIZE
from tests.evaluation.test_parameters_arrive import ARRIVES as EVALUATE
from tests.pretrained.test_parameters_arrive import ARRIVES as FINETUNE
from tests.pretrained.test_parameters_arrive import PRETRAINED_ARRIVES as PRETRAINED
from tests.tracking.test_parameters_arrive import ARRIVES as TRACKING
from tests.training.test_parameters_arrive import ARRIVES as TRAIN_SCRATCH
from tests.training.test_parameters_arrive import RUN_ARRIVES as RUN
from tests.visualization.test_parameters_arrive import ARRIVES as VISUALIZE

from scratchformer.base.layout import TRACKS
from scratchformer.params import Params

CLAIMED = {
    *RUN, *PREPARE, *TOKENIZE, *PRETRAINED, *TRAIN_SCRATCH, *FINETUNE, *EVALUATE, *VISUALIZE,
    *TRACKING,
    # The sources of both tracks are read by one function.
    *(f"prepare.{track}.source.{key}" for track in TRACKS for key in SOURCE),
}  # fmt: skip


def sections_in(annotation: object) -> list[type[BaseModel]]:
    """The sections that a field may hold: one, several in a union, or none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (dict, list):
        return []
    return [found for part in typing.get_args(annotation) for found in sections_in(part)]


def keys_of(section: type[BaseModel], place: str = "") -> Iterator[str]:
    """Every key below a section that holds no further keys, dotted."""
    for name, field in section.model_fields.items():
        inside = sections_in(field.annotation)
        if not inside:
            yield place + name
        for part in inside:
            yield from keys_of(part, f"{place}{name}.")


def test_every_key_of_the_schema_is_claimed_and_no_other() -> None:
    keys = set(keys_of(Params))
    assert {"run.seed", "train_scratch.model.d_model", "prepare.scratch.source.kind"} <= keys
    assert sorted(keys - CLAIMED) == []
    assert sorted(CLAIMED - keys) == []
