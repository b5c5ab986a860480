"""What the sequence models of a track predict. Here models run, and nowhere else in the evaluation
of sequences: every process of the stage comes here, and each has the whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scratchformer.base.layout import FINETUNED_MODEL, SplitName, TrackName
from scratchformer.base.terminal import progress
from scratchformer.data.preparation.prepared import load_split
from scratchformer.data.tokenized.read import load_tokenized_info, open_split
from scratchformer.evaluation.controls.sampling import TRAIN_ROWS, draw
from scratchformer.evaluation.reports.sequences import SequenceRows
from scratchformer.evaluation.systems.outputs import SequenceOutput
from scratchformer.evaluation.systems.pretrained import pretrained_output
from scratchformer.evaluation.tracks.report import Settings
from scratchformer.evaluation.tracks.same_rows import same_rows
from scratchformer.evaluation.tracks.scratch_models import scratch_output, target_is_lowercase
from scratchformer.pretrained.hub.inputs import tell_target_language
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.models.loading import load_finetuned, load_seq2seq

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TITLES: Mapping[SplitName, str] = {"train": "training", "valid": "validation", "test": "test"}
VALID_ROWS = 2_000  # validation rows that are decoded, at most: decoding is what takes time

Outputs = tuple[SequenceOutput, SequenceOutput]  # on valid and on test


@dataclass(frozen=True)
class Split:
    """Rows of a split, and the same rows tokenized (`row` is the place in `rows`)."""

    name: str
    rows: SequenceRows
    tokenized: pa.Table


@dataclass(frozen=True)
class Splits:
    """The rows of a track that its models decode: of train and valid, some."""

    train: Split
    valid: Split
    test: Split

    @classmethod
    def of(cls, track: TrackName, seed: int) -> "Splits":
        lowercase = track == "scratch" and target_is_lowercase()
        test = SequenceRows.of(load_split(track, "test"), lowercase)
        return cls(
            _some(track, "train", TRAIN_ROWS, test, seed),
            _some(track, "valid", VALID_ROWS, test, seed),
            Split("test rows", test, open_split(track, "test")),
        )


@dataclass(frozen=True)
class ModelRuns:
    """What all models of a track predict, and what its own one does on training rows."""

    outputs: dict[str, Outputs]
    on_train: SequenceOutput


def run_models(track: TrackName, splits: Splits, settings: Settings) -> ModelRuns:
    """Let the model of the track decode, and the models that it is compared with."""
    return _RUNS[track](splits, settings)


def _some(track: TrackName, name: SplitName, limit: int, test: SequenceRows, seed: int) -> Split:
    """At most `limit` rows of another split, scored as the test rows are."""
    split = load_split(track, name)
    drawn = draw(split.num_rows, limit, seed)
    columns = split.take(pa.array(drawn.rows)).to_pydict()
    rows = SequenceRows(
        columns["id"], columns["source"], columns["targets"], columns["group"],
        test.kind, test.unit, test.lowercase,
    )  # fmt: skip
    tokenized = open_split(track, name)
    row = tokenized.column("row")
    kept = tokenized.filter(pc.is_in(row, value_set=pa.array(drawn.rows, row.type)))
    place = pa.array(np.searchsorted(drawn.rows, kept.column("row").to_numpy()), row.type)
    index = kept.schema.get_field_index("row")
    return Split(f"{_TITLES[name]} rows", rows, kept.set_column(index, "row", place))


def _run_scratch(splits: Splits, settings: Settings) -> ModelRuns:
    outputs = (_from_scratch(each, settings) for each in (splits.valid, splits.test, splits.train))
    valid, test, train = outputs
    return ModelRuns({"scratch": (valid, test)}, train)


def _run_pretrained(splits: Splits, settings: Settings) -> ModelRuns:
    """Before and after fine-tuning; the from-scratch model if it has the same rows."""
    both = (splits.valid, splits.test)
    model = load_seq2seq(settings.pretrained)
    tell_target_language(model, FINETUNED_MODEL)
    valid, test = _decoded(model, both, settings, "before")
    outputs: dict[str, Outputs] = {"before": (valid, test)}
    model = load_finetuned(FINETUNED_MODEL, task="seq2seq")
    valid, test, train = _decoded(model, (*both, splits.train), settings, "after")
    outputs["after"] = valid, test
    if same_rows():
        rows = splits.test.rows
        some = _some("scratch", "valid", VALID_ROWS, rows, settings.seed)
        tested = Split(splits.test.name, rows, open_split("scratch", "test"))
        outputs["scratch"] = _from_scratch(some, settings), _from_scratch(tested, settings)
    return ModelRuns(outputs, train)


def _from_scratch(split: Split, settings: Settings) -> SequenceOutput:
    return scratch_output(split.tokenized, len(split.rows.ids), settings, split.name)


def _decoded(
    model: "PreTrainedModel", splits: Sequence[Split], settings: Settings, when: str
) -> list[SequenceOutput]:
    """What a pretrained model predicts, without or with fine-tuning."""
    tokenizer = load_tokenizer_folder(FINETUNED_MODEL)
    outputs = []
    for split in splits:
        rows = len(split.rows.ids)
        with progress(f"evaluate: decoding {split.name}, {when}", rows) as bar:
            outputs.append(
                pretrained_output(
                    model,
                    tokenizer,
                    split.tokenized,
                    rows,
                    beam_size=settings.beam_size,
                    max_length=load_tokenized_info("finetune")["max_target_length"],
                    batch_size=settings.batch_size,
                    advance=bar.advance,
                )
            )
    return outputs


_RUNS: Mapping[TrackName, Callable[[Splits, Settings], ModelRuns]] = {
    "scratch": _run_scratch,
    "finetune": _run_pretrained,
}
