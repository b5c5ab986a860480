"""Stage finetune: a pretrained model and tokenized rows → models/finetuned, its history."""

from typing import TYPE_CHECKING

from scratchformer.layout import FINETUNED_MODEL, HISTORY, TOKENIZED, TOKENIZERS
from scratchformer.params import Params
from scratchformer.terminal import Summary

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun


def finetune(params: Params, run: "StageRun") -> Summary:
    """Train the pretrained model on the training split, keep the best weights on valid."""
    import shutil

    from scratchformer.data.tokenized import load_tokenized_info, open_split
    from scratchformer.files import write_whole_folder
    from scratchformer.pretrained.finetuning import finetune as train
    from scratchformer.pretrained.finetuning import save_finetuned
    from scratchformer.pretrained.loading import load_classifier, locate
    from scratchformer.training.fingerprint import collect_facts, digest
    from scratchformer.training.writer_lock import only_writer
    from scratchformer.workspace import checkpoint_root

    history = HISTORY / "finetune"
    tokens, tokenizer = TOKENIZED / "finetune", TOKENIZERS / "finetune"
    labels = load_tokenized_info("finetune")["labels"]
    facts = collect_facts(
        {"run": params.run, "finetune": params.finetune, "pretrained": params.pretrained},
        inputs=[tokens, tokenizer, locate(params.pretrained)],
        code=["pretrained", "training", "data/batches.py"],
    )
    checkpoints = checkpoint_root("finetune") / digest(facts)
    with only_writer(checkpoints.with_suffix(".lock"), "models/finetuned"):
        model = load_classifier(params.pretrained, labels, params.run.seed)
        report = train(
            model,
            open_split("finetune", "train"),
            open_split("finetune", "valid"),
            params.finetune,
            params.run.seed,
            checkpoints,
            run.log_metrics,
        )
        save_finetuned(model, tokenizer, report, FINETUNED_MODEL)
        with write_whole_folder(history) as folder:
            shutil.copytree(checkpoints / "history", folder, dirs_exist_ok=True)
        shutil.rmtree(checkpoints)
    run.log_summary({"valid": report.valid, "best_step": report.best_step})
    rows = [
        ("validation accuracy", f"{report.valid['accuracy']:.4f}"),
        ("validation macro-F1", f"{report.valid['macro_f1']:.4f}"),
        ("validation loss", f"{report.valid['loss']:.4f} nats a row"),
        ("best update", f"{report.best_step:,} of {report.steps:,} ({report.stop_reason})"),
        ("parameters", f"{report.trained_parameters:,} trained of {report.parameters:,}"),
    ]
    return Summary("finetune", rows, [FINETUNED_MODEL, history])


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(finetune)
