"""Stage finetune: a pretrained model and tokenized rows → models/finetuned, its history."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from scratchformer.base.layout import FINETUNED_MODEL, HISTORY, PREPARED, TOKENIZED, TOKENIZERS
from scratchformer.base.terminal import Summary
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun


INPUTS = (
    PREPARED / "finetune" / "info.json",
    TOKENIZED / "finetune" / "train.arrow",
    TOKENIZED / "finetune" / "valid.arrow",
    TOKENIZED / "finetune" / "info.json",
    TOKENIZERS / "finetune",
)


def finetune(params: Params, run: "StageRun") -> Summary:
    """Fine-tune the pretrained model; resume when an earlier run of the same was cut short."""
    import shutil

    from scratchformer.base.files import write_whole_folder
    from scratchformer.checkpoints.session import training_session
    from scratchformer.data.preparation.prepared import load_info
    from scratchformer.data.tokenized.read import load_tokenized_info, open_split
    from scratchformer.explanation.curves import explain_curves
    from scratchformer.monitoring.history import read_history
    from scratchformer.pretrained.finetuning.finetuning import finetune as train
    from scratchformer.pretrained.finetuning.finetuning import save_finetuned
    from scratchformer.pretrained.finetuning.model_card import model_card
    from scratchformer.pretrained.finetuning.tasks import MAKERS
    from scratchformer.pretrained.hub.locating import locate
    from scratchformer.runtime.device import open_machine
    from scratchformer.runtime.distributed import joined
    from scratchformer.runtime.processes import rank, world_size

    here = params.run
    machine = open_machine(here.device, here.threads, here.precision, here.compile)
    info = load_tokenized_info("finetune")
    sections = {"run": params.run, "finetune": params.finetune, "pretrained": params.pretrained}
    pretrained = locate(params.pretrained)
    inputs, libraries = [*INPUTS, pretrained], ("torch", "transformers")
    more = machine.facts()
    if world_size() > 1:
        more["processes"] = world_size()  # other sums, other dropout
    session = training_session("finetune", sections, inputs, more, libraries)
    with joined(), session as checkpoints:
        for path in INPUTS[1:3]:
            run.log_input(path.stem, path, "training" if path.stem == "train" else "validation")
        rows, held_out = (open_split("finetune", split) for split in ("train", "valid"))
        task = MAKERS[info["task"]](params.pretrained, info, rows, held_out, params.run.seed)
        model = task.model
        report = train(task, params.finetune, params.run.seed, checkpoints, run.log_metrics)
        if rank():
            return Summary("finetune", [], [])
        card = model_card(params, load_info("finetune"), report, pretrained, type(model).__name__)
        save_finetuned(model, TOKENIZERS / "finetune", report, card, FINETUNED_MODEL)
        with write_whole_folder(HISTORY / "finetune") as folder:
            shutil.copytree(checkpoints.folder / "history", folder, dirs_exist_ok=True)
        train_rows, valid_rows = (
            read_history(HISTORY / "finetune" / f"{name}.csv") for name in ("train", "valid")
        )
    run.log_summary(asdict(report))
    included = "label smoothing" if params.finetune.label_smoothing else ""
    sentences = explain_curves(train_rows, valid_rows, report.stop_reason, included)[1:]
    # The first sentence is the best step by loss: here accuracy decides.
    rows = [
        *((f"validation {name}", f"{value:.4f}") for name, value in report.valid.items()),
        ("best update", f"{report.best_step:,} of {report.steps:,} ({report.stop_reason})"),
        ("parameters", f"{report.trained_parameters:,} trained of {report.parameters:,}"),
        ("ran on", machine.describe()),
        *(("in words", line) for line in sentences),
    ]
    return Summary("finetune", rows, [FINETUNED_MODEL, HISTORY / "finetune"])


if __name__ == "__main__":
    from scratchformer.stages.runner import Deal, run_stage

    run_stage(finetune, Deal("finetune.batch_size", lambda params: params.finetune.batch_size))
