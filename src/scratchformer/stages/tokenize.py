"""Stage tokenize: prepared rows → data/tokenized/<track>/, models/tokenizers/<track>/."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchformer.base.layout import (
    PREPARED,
    SPLITS,
    TOKENIZED,
    TOKENIZERS,
    TOKENS_REPORT,
    TRACKS,
    TrackName,
)
from scratchformer.base.terminal import Summary, progress
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun

MUCH_UNKNOWN = 0.05  # share of the tokens
MUCH_CUT = 0.1  # share of the texts


def tokenize(params: Params, run: "StageRun") -> Summary:
    """Train the tokenizers of the scratch track, then encode both tracks."""
    from scratchformer.base.files import write_json, write_whole_folder
    from scratchformer.data.preparation.prepared import load_info
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
        [row for track in TRACKS for row in _describe(track, report[track])],
        [TOKENIZED, TOKENIZERS, TOKENS_REPORT],
        [
            *(warning for track in TRACKS for warning in _warnings(track, report[track])),
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


def _describe(track: TrackName, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A line for each side, by the figures of the training split; what is unknown also by those
    of the validation split, which the vocabulary was not learned from."""
    lines = [(str(track), "")]
    for side, figures in report["splits"]["train"].items():
        unseen = report["splits"]["valid"][side]
        lines.append((
            f"  {side}",
            f"{report[f'{side}_vocab_size']:,} tokens in the vocabulary; unknown: "
            f"{figures['unknown_rate']:.2%} of train, {unseen['unknown_rate']:.2%} of valid; "
            f"median length {figures['lengths']['median']}, {figures['truncated_share']:.2%} cut",
        ))
    return lines


def _warnings(track: TrackName, report: Mapping[str, Any]) -> list[str]:
    """What a person should look at before a training."""
    warnings = []
    for side, figures in report["splits"]["valid"].items():
        if figures["unknown_rate"] > MUCH_UNKNOWN:
            warnings.append(
                f"{track}: {figures['unknown_rate']:.0%} of the {side} tokens of valid are not in "
                "the vocabulary; choose bpe or character as the algorithm, or a larger vocab_size"
            )
        if figures["truncated_share"] > MUCH_CUT:
            warnings.append(
                f"{track}: {figures['truncated_share']:.0%} of the {side} texts of valid are cut "
                f"to {report[f'max_{side}_length']} tokens; raise the length to read all of them"
            )
    return warnings


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(tokenize)
