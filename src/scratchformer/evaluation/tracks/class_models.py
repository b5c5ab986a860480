"""What the classifiers of a track say. Here models run, and nowhere else in the evaluation of
classifiers: every process of the stage comes here, and each has the whole."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from scratchformer.base.layout import FINETUNED_MODEL, TrackName
from scratchformer.base.terminal import progress
from scratchformer.data.preparation.prepared import Info, load_split
from scratchformer.data.tokenized.read import open_split
from scratchformer.evaluation.controls.sampling import PROBE_ROWS, TRAIN_ROWS, Drawn, draw
from scratchformer.evaluation.measures.temperature import fit_temperature, rescale
from scratchformer.evaluation.reports.classification import (
    LabelledRows,
    Probabilities,
    columns_of,
)
from scratchformer.evaluation.reports.scores import values
from scratchformer.evaluation.tracks.report import Settings
from scratchformer.evaluation.tracks.same_rows import same_rows
from scratchformer.evaluation.tracks.scratch_models import scratch_probabilities
from scratchformer.pretrained.hub.inputs import load_inputs
from scratchformer.pretrained.inference import classify_probabilities, embed
from scratchformer.pretrained.models.loading import load_encoder
from scratchformer.pretrained.zero_shot import TextEncoder, ZeroShot


@dataclass(frozen=True)
class Classified:
    """What one system says on both splits, `[rows, labels]`, and what was chosen for it."""

    valid: Probabilities
    test: Probabilities
    notes: dict[str, Any] = field(default_factory=dict)

    def scaled(self, valid: LabelledRows, test: LabelledRows) -> "Classified":
        """The same with a temperature that is fitted on the validation split."""
        temperature = fit_temperature(self.valid, valid.gold)
        unscaled = values(columns_of(test, self.test))["ece"]
        return Classified(
            rescale(self.valid, temperature),
            rescale(self.test, temperature),
            {**self.notes, "temperature": temperature, "ece_unscaled": unscaled},
        )


@dataclass(frozen=True)
class Splits:
    """The rows of a track that its models read."""

    info: Info
    train: LabelledRows  # some, drawn
    train_ids: pa.Table  # the same, tokenized
    valid: LabelledRows
    test: LabelledRows

    @classmethod
    def of(cls, track: TrackName, info: Info, seed: int) -> "Splits":
        labels = [label.name for label in info.labels]
        places = pa.array(draw(info.counts["train"], TRAIN_ROWS, seed).rows)
        return cls(
            info,
            LabelledRows.of(load_split(track, "train").take(places), labels),
            open_split(track, "train").take(places),
            *(LabelledRows.of(load_split(track, split), labels) for split in ("valid", "test")),
        )


@dataclass(frozen=True)
class Embedded:
    """What the pretrained encoder makes of texts, `[rows, d_model]`, for the linear probe."""

    drawn: Drawn  # the training rows
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class ModelRuns:
    """What all models of a track say.

    Attributes:
        frozen: those that were not trained for the task.
        trained: the others.
        on_train: what the own model says on `Splits.train`.
    """

    frozen: dict[str, Classified]
    embedded: Embedded | None
    trained: dict[str, Classified]
    on_train: Probabilities


def run_models(track: TrackName, splits: Splits, settings: Settings) -> ModelRuns:
    """Let the model of the track classify, and the models that it is compared with."""
    return _RUNS[track](splits, settings)


def _run_scratch(splits: Splits, settings: Settings) -> ModelRuns:
    trained = {"scratch": _from_scratch(settings)}
    return ModelRuns({}, None, trained, scratch_probabilities(splits.train_ids, settings))


def _run_pretrained(splits: Splits, settings: Settings) -> ModelRuns:
    """Before and after fine-tuning; the from-scratch model if it has the same rows."""
    tables = {split: open_split("finetune", split) for split in ("valid", "test")}
    total = sum(table.num_rows for table in tables.values())
    with progress("evaluate: classifying, fine-tuned", total) as bar:
        valid, test = (
            classify_probabilities(FINETUNED_MODEL, table, settings.batch_size, bar.advance)
            for table in tables.values()
        )
    trained = {"after": Classified(valid, test)}
    before, embedded = _run_frozen(splits, settings)
    if same_rows():
        trained["scratch"] = _from_scratch(settings)
    on_train = classify_probabilities(FINETUNED_MODEL, splits.train_ids, settings.batch_size)
    return ModelRuns({"before": before}, embedded, trained, on_train)


def _from_scratch(settings: Settings) -> Classified:
    valid, test = (
        scratch_probabilities(open_split("scratch", split), settings) for split in ("valid", "test")
    )
    return Classified(valid, test)


def _run_frozen(splits: Splits, settings: Settings) -> tuple[Classified, Embedded]:
    """What the pretrained model knows before any training: zero-shot by similarity to the label
    descriptions, and its vectors. All splits are embedded once, as tokenized."""
    model = load_encoder(settings.pretrained)
    labels = [(label.name, label.description) for label in splits.info.labels]
    drawn = draw(splits.info.counts["train"], PROBE_ROWS, settings.seed)
    tables = {split: open_split("finetune", split) for split in ("train", "valid", "test")}
    texts = {**tables, "train": tables["train"].take(pa.array(drawn.rows))}
    with progress("evaluate: embedding texts", sum(map(len, texts.values()))) as bar:
        vectors = {}
        for split, table in texts.items():
            vectors[split] = embed(model, table, settings.batch_size, bar.advance)
    encode = TextEncoder(model, load_inputs(FINETUNED_MODEL), settings.batch_size)
    zero_shot = ZeroShot.choose(
        encode, settings.prompts, labels, vectors["valid"], splits.valid.gold.tolist()
    )
    before = Classified(
        zero_shot.probabilities(vectors["valid"]),
        zero_shot.probabilities(vectors["test"]),
        {"prompt": zero_shot.prompt},
    )
    return before, Embedded(drawn, vectors["train"], vectors["valid"], vectors["test"])


_RUNS: Mapping[TrackName, Callable[[Splits, Settings], ModelRuns]] = {
    "scratch": _run_scratch,
    "finetune": _run_pretrained,
}
