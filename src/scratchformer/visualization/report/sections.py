"""Which chapters the report has, for either task on either track."""

from collections.abc import Iterator, Mapping
from typing import Any

from scratchformer.base.layout import FINETUNED_MODEL, SCRATCH_MODEL, TRACKS
from scratchformer.data.preparation.prepared import load_info
from scratchformer.params import Params
from scratchformer.pretrained.hub.inputs import load_inputs
from scratchformer.pretrained.hub.loading import load_encoder, load_finetuned, load_tokenizer_folder
from scratchformer.text.inputs import load_scratch_inputs
from scratchformer.text.tokenizers import load_tokenizers
from scratchformer.transformer import load_model
from scratchformer.visualization.analysis.predictions import names_of
from scratchformer.visualization.analysis.results import method
from scratchformer.visualization.report.page import Chapter, Missing
from scratchformer.visualization.report.section_errors import class_errors, sequence_errors
from scratchformer.visualization.report.section_finetune import Encoders, finetune_chapter
from scratchformer.visualization.report.section_results import results_chapter
from scratchformer.visualization.report.section_scratch import ScratchModel, scratch_chapter
from scratchformer.visualization.report.section_training import training_chapter


def chapters(params: Params, metrics: Mapping[str, Any]) -> Iterator[Chapter]:
    """Results first, then how they came about, then what is inside, then what went wrong."""
    yield results_chapter(metrics)
    yield from _scratch_chapters(params)
    yield from _finetune_chapters(params)


def _scratch_chapters(params: Params) -> Iterator[Chapter]:
    info, settings = load_info("scratch"), params.visualize
    yield training_chapter("scratch", info.task, params.train_scratch.clip_norm)
    model = ScratchModel(
        load_model(SCRATCH_MODEL),
        load_tokenizers(SCRATCH_MODEL),
        load_scratch_inputs(SCRATCH_MODEL),
        info.task,
    )
    yield scratch_chapter(model, settings.attention_examples, settings.projection_points)
    if info.task == "seq2seq":
        yield sequence_errors("scratch", settings.error_examples)
    else:
        systems = {"model": "from scratch"}
        yield class_errors("scratch", systems, names_of(info), settings.error_examples)


def _finetune_chapters(params: Params) -> Iterator[Chapter]:
    info, settings = load_info("finetune"), params.visualize
    yield training_chapter("finetune", info.task, None)
    if info.task != "classification":
        reason = "These figures are made for classes; the finetune track writes sequences."
        missing = [Missing("Attention, map of the test rows, errors", reason)]
        yield Chapter("finetune-inside", "Inside the pretrained model", "", missing)
        return
    names = names_of(info)
    encoders = Encoders(
        before=load_encoder(params.pretrained, "eager"),
        after=load_finetuned(FINETUNED_MODEL, "eager"),
        tokenizer=load_tokenizer_folder(FINETUNED_MODEL),
        inputs=load_inputs(FINETUNED_MODEL),
    )
    yield finetune_chapter(
        encoders, names, settings.attention_examples, settings.projection_points, params.run.seed
    )
    systems = {"before": "before fine-tuning", "after": "after fine-tuning"}
    yield class_errors("finetune", systems, names, settings.error_examples)


def facts(params: Params, metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What all numbers of the report depend on."""
    rows = []
    for track in TRACKS:
        info = load_info(track)
        counts = ", ".join(f"{count:,} {split}" for split, count in info.counts.items())
        rows.append((f"{track} track", f"{info.description} [{info.name}, {info.task}: {counts}]"))
    pretrained = params.pretrained
    pinned = f" at {pretrained.revision}" if pretrained.revision else ""
    rows.append(("pretrained model", f"{pretrained.name}{pinned}"))
    rows.append(("seed", f"{params.run.seed}; each model was trained once"))
    rows += [(f"{track} intervals", method(metrics, track)) for track in TRACKS]
    prompt = metrics.get("finetune", {}).get("before", {}).get("prompt")
    if prompt:
        rows.append(("zero-shot prompt", f"{prompt} (chosen on the validation split)"))
    return rows
