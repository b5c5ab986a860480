"""Stage tokenize: prepared rows → data/tokenized/<track>/, models/tokenizers/<track>/."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchformer.base.layout import (
    PREPARED,
    SPLITS,
    TOKENIZED,
    TOKENIZERS,
    TOKENS_REPORT,
    TRACKS,
)
from scratchformer.base.terminal import Summary, progress
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun


def tokenize(params: Params, run: "StageRun") -> Summary:
    """Train the tokenizers of the scratch track, then encode both tracks."""
    from scratchformer.base.files import write_json, write_whole_folder
    from scratchformer.data.preparation.prepared import load_info
    from scratchformer.data.tokenized.summary import describe_track, warn_of_track
    from scratchformer.pretrained.hub.locating import unwatched

    for track in TRACKS:
        for split in SPLITS:
            run.log_input(f"{track}-{split}", PREPARED / track / f"{split}.parquet", "prepared")
    rows = sum(sum(load_info(track).counts.values()) for track in TRACKS)
    with (
        write_whole_folder(TOKENIZERS) as tokenizers,
        write_whole_folder(TOKENIZED) as folder,
        progress("tokenize", rows) as bar,
    ):
        report = {
            "scratch": _scratch(params, tokenizers / "scratch", folder / "scratch", bar.advance),
            "finetune": _finetune(
                params, tokenizers / "finetune", folder / "finetune", bar.advance
            ),
        }
    write_json(TOKENS_REPORT, report)
    run.log_summary(report)
    run.log_artifact(TOKENS_REPORT)
    return Summary(
        "tokenize",
        [row for track in TRACKS for row in describe_track(track, report[track])],
        [TOKENIZED, TOKENIZERS, TOKENS_REPORT],
        [
            *(warning for track in TRACKS for warning in warn_of_track(track, report[track])),
            *unwatched(params.pretrained),
        ],
    )


def _scratch(
    params: Params, tokenizers: Path, folder: Path, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Tokenizers of our own, from the training split."""
    from scratchformer.data.tokenized.encode import encode_track
    from scratchformer.data.tokenized.learn import learn_tokenizers
    from scratchformer.text.inputs import scratch_inputs
    from scratchformer.text.tokenizers import load_tokenizers

    rules = learn_tokenizers(params.tokenize.scratch, tokenizers)
    inputs = scratch_inputs(load_tokenizers(tokenizers), rules, "tokenize.scratch")
    return encode_track("scratch", inputs, folder, advance)


def _finetune(
    params: Params, tokenizers: Path, folder: Path, advance: Callable[[int], None]
) -> dict[str, Any]:
    """The tokenizer of the pretrained model."""
    from scratchformer.base.tasks import TASKS
    from scratchformer.data.preparation.prepared import load_info
    from scratchformer.data.tokenized.encode import encode_track
    from scratchformer.pretrained.hub.inputs import new_inputs

    info, length = load_info("finetune"), params.tokenize.finetune.max_length
    tokenizer, inputs = new_inputs(
        params.pretrained, length, pairs=info.pairs, targets=not TASKS[info.task].labelled
    )
    tokenizer.save_pretrained(tokenizers)
    inputs.rules.save(tokenizers)
    return encode_track("finetune", inputs, folder, advance)


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(tokenize)
