"""Stage finetune: a pretrained model and tokenized rows → models/finetuned, its history."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from scratchformer.layout import FINETUNED_MODEL, HISTORY, TOKENIZED, TOKENIZERS
from scratchformer.params import Params
from scratchformer.terminal import Summary

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun


INPUTS = (
    TOKENIZED / "finetune" / "train.arrow",
    TOKENIZED / "finetune" / "valid.arrow",
    TOKENIZED / "finetune" / "info.json",
    TOKENIZERS / "finetune",
)
CODE = ("data/batches.py", "pretrained", "training", "stages/finetune.py")


def finetune(params: Params, run: "StageRun") -> Summary:
    """Fine-tune the pretrained model; resume when an earlier run of the same was cut short."""
    import shutil

    import torch

    from scratchformer.data.tokenized import load_tokenized_info, open_split
    from scratchformer.files import write_whole_folder
    from scratchformer.pretrained import finetuning
    from scratchformer.pretrained.loading import load_classifier, locate
    from scratchformer.training.fingerprint import collect_facts
    from scratchformer.training.session import training_session
    from scratchformer.workspace import checkpoint_root

    torch.set_num_threads(params.run.threads)
    labels = load_tokenized_info("finetune")["labels"]
    sections = {"run": params.run, "finetune": params.finetune, "pretrained": params.pretrained}
    facts = collect_facts(sections, [*INPUTS, locate(params.pretrained)], CODE)
    for path in INPUTS[:2]:
        run.log_input(path.stem, path, "training" if path.stem == "train" else "validation")
    with training_session(checkpoint_root("finetune"), facts) as checkpoints:
        model = load_classifier(params.pretrained, labels, params.run.seed)
        report = finetuning.finetune(
            model,
            open_split("finetune", "train"),
            open_split("finetune", "valid"),
            params.finetune,
            params.run.seed,
            checkpoints,
            on_log=run.log_metrics,
        )
        finetuning.save_finetuned(model, TOKENIZERS / "finetune", report, FINETUNED_MODEL)
        with write_whole_folder(HISTORY / "finetune") as folder:
            shutil.copytree(checkpoints.folder / "history", folder, dirs_exist_ok=True)
    run.log_summary(asdict(report))
    rows = [
        ("validation accuracy", f"{report.valid['accuracy']:.4f}"),
        ("validation macro-F1", f"{report.valid['macro_f1']:.4f}"),
        ("validation loss", f"{report.valid['loss']:.4f} nats a row"),
        ("best update", f"{report.best_step:,} of {report.steps:,} ({report.stop_reason})"),
        ("parameters", f"{report.trained_parameters:,} trained of {report.parameters:,}"),
    ]
    return Summary("finetune", rows, [FINETUNED_MODEL, HISTORY / "finetune"])


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(finetune)
