"""Stage tokenize: prepared rows → data/tokenized/<track>/, models/tokenizers/<track>/."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchformer.layout import TOKENIZED, TOKENIZERS, TOKENS_REPORT
from scratchformer.params import Params
from scratchformer.terminal import Summary

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun


def tokenize(params: Params, run: "StageRun") -> Summary:
    """Train the tokenizers of the scratch track, then encode both tracks."""
    from scratchformer.files import write_json, write_whole_folder

    with write_whole_folder(TOKENIZERS) as tokenizers, write_whole_folder(TOKENIZED) as folder:
        report = {
            "scratch": _scratch(params, tokenizers / "scratch", folder / "scratch"),
            "finetune": _finetune(params, tokenizers / "finetune", folder / "finetune"),
        }
    write_json(TOKENS_REPORT, report)
    return Summary("tokenize", [], [TOKENIZED, TOKENIZERS, TOKENS_REPORT])


def _scratch(params: Params, tokenizers: Path, folder: Path) -> dict[str, Any]:
    from scratchformer.data.encoding import encode_track, scratch_encoder, training_texts
    from scratchformer.data.prepared import load_info
    from scratchformer.tokenization import load_tokenizers, train_tokenizer

    settings = params.tokenize.scratch
    task = load_info("scratch").task
    tokenizers.mkdir()
    if task == "classification":
        columns = {"source": (["text"], settings.source)}
    elif settings.shared_vocabulary:
        columns = dict.fromkeys(("source", "target"), (["source", "targets"], settings.source))
    else:
        columns = {
            "source": (["source"], settings.source), "target": (["targets"], settings.target)
        }
    for side, (texts, algorithm) in columns.items():
        tokenizer = train_tokenizer(training_texts("scratch", texts), algorithm)
        tokenizer.save(str(tokenizers / f"{side}.json"))
    pair = load_tokenizers(tokenizers)
    encoders = {"source": scratch_encoder(pair.source, settings.max_source_length)}
    sizes = {"source_vocab_size": pair.source.get_vocab_size()}
    lengths = {"max_source_length": settings.max_source_length}
    if pair.target:
        encoders["target"] = scratch_encoder(pair.target, settings.max_target_length)
        sizes["target_vocab_size"] = pair.target.get_vocab_size()
        lengths["max_target_length"] = settings.max_target_length
    return encode_track("scratch", encoders, {**sizes, **lengths}, folder)


def _finetune(params: Params, tokenizers: Path, folder: Path) -> dict[str, Any]:
    from scratchformer.data.encoding import encode_track, pretrained_encoder
    from scratchformer.data.prepared import load_info
    from scratchformer.pretrained.loading import load_tokenizer

    length = params.tokenize.finetune.max_length
    tokenizer = load_tokenizer(params.pretrained)
    tokenizer.save_pretrained(tokenizers)
    encoders = {"input_ids": pretrained_encoder(tokenizer, length)}
    sizes = {"source_vocab_size": len(tokenizer), "max_source_length": length}
    if load_info("finetune").task == "seq2seq":
        encoders["labels"] = pretrained_encoder(tokenizer, length, target=True)
        sizes |= {"target_vocab_size": len(tokenizer), "max_target_length": length}
    return encode_track("finetune", encoders, sizes, folder)


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(tokenize)
