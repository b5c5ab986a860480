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



def tokenize(params: Params, run: "StageRun") -> Summary:
    """Train the tokenizers of the scratch track, then encode both tracks."""
    from scratchformer.base.files import write_json, write_whole_folder
    from scratchformer.data.preparation.prepared import load_info

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
    )


def _scratch(
    params: Params, tokenizers: Path, folder: Path, advance: Callable[[int], None]
) -> dict[str, Any]:
    from scratchformer.data.preparation.prepared import load_info
    from scratchformer.data.tokenized.encode import encode_track, scratch_encoder, training_texts
    from scratchformer.text.tokenizers import load_tokenizers, train_tokenizer

    settings = params.tokenize.scratch
    if load_info("scratch").task == "classification":
        columns = ["text", *(["text_pair"] if load_info("scratch").pairs else [])]
        trained = {"source": train_tokenizer(training_texts("scratch", *columns), settings.source)}
    elif settings.shared_vocabulary:
        texts = training_texts("scratch", "source", "targets")
        trained = dict.fromkeys(("source", "target"), train_tokenizer(texts, settings.source))
    else:
        trained = {
            "source": train_tokenizer(training_texts("scratch", "source"), settings.source),
            "target": train_tokenizer(training_texts("scratch", "targets"), settings.target),
        }
    tokenizers.mkdir()
    for side, tokenizer in trained.items():
        tokenizer.save(str(tokenizers / f"{side}.json"))
    source, target = load_tokenizers(tokenizers)
    encoders = {"source": scratch_encoder(source, settings.max_source_length)}
    sizes = {
        "source_vocab_size": source.get_vocab_size(),
        "max_source_length": settings.max_source_length,
    }
    if target is not None:
        encoders["target"] = scratch_encoder(target, settings.max_target_length)
        sizes |= {
            "target_vocab_size": target.get_vocab_size(),
            "max_target_length": settings.max_target_length,
        }
    return encode_track("scratch", encoders, sizes, folder, advance)


def _finetune(
    params: Params, tokenizers: Path, folder: Path, advance: Callable[[int], None]
) -> dict[str, Any]:
    from scratchformer.base.errors import ParamsError
    from scratchformer.data.preparation.prepared import load_info
    from scratchformer.data.tokenized.encode import encode_track, pretrained_encoder
    from scratchformer.pretrained.hub.loading import load_tokenizer

    length = params.tokenize.finetune.max_length
    tokenizer = load_tokenizer(params.pretrained)
    tokenizer.save_pretrained(tokenizers)
    prefix, pairs = params.pretrained.prefix, load_info("finetune").pairs
    encoders = {"input_ids": pretrained_encoder(tokenizer, length, prefix=prefix)}
    sizes: dict[str, int | str] = {
        "source_vocab_size": len(tokenizer), "max_source_length": length,
    }  # fmt: skip
    if pairs:
        if tokenizer.sep_token_id is None:
            raise ParamsError(
                f"pretrained.name: {params.pretrained.name} has no token that separates two texts; "
                "for pairs (source.columns.text_pair) choose a model of the BERT family"
            )
        sizes["pair_separator"] = tokenizer.sep_token_id
    if load_info("finetune").task == "seq2seq":
        encoders["labels"] = pretrained_encoder(tokenizer, length, target=True)
        sizes |= {"target_vocab_size": len(tokenizer), "max_target_length": length}
    return encode_track("finetune", encoders, sizes, folder, advance)


def _describe(track: TrackName, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A line for each column of token ids, by the figures of the training split."""
    lines = [(str(track), "")]
    for column, figures in report["splits"]["train"].items():
        side = "target" if column in ("target", "labels") else "source"
        lines.append((
            f"  {column}",
            f"{report[f'{side}_vocab_size']:,} tokens, {figures['unknown_rate']:.2%} unknown, "
            f"median length {figures['lengths']['median']}, {figures['truncated_share']:.2%} cut",
        ))
    return lines


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(tokenize)
