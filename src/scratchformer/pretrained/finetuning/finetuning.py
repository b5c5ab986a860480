"""Fine-tuning a pretrained model on tokenized rows.

`finetune` trains in place and leaves the best weights of the validation split in the model;
`save_finetuned` writes the folder that plain `transformers` loads.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scratchformer.base.errors import ParamsError
from scratchformer.base.files import write_json, write_whole_folder
from scratchformer.monitoring.stop_reason import StopReason
from scratchformer.params import Finetune
from scratchformer.pretrained.finetuning.freezing import freeze
from scratchformer.pretrained.finetuning.lora import add_adapters, merge_adapters
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.finetuning.tasks.task import FinetuneTask
from scratchformer.pretrained.hub.reading import quiet_transformers
from scratchformer.runtime.device import machine

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, TrainingArguments

    from scratchformer.checkpoints.checkpoint import Checkpoints

OnLog = Callable[[Mapping[str, float], int], None]
CLIP_NORM = 1.0  # largest global gradient norm
SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass(frozen=True)
class FinetuneReport:
    """How the training went. No timings: equal runs give equal reports."""

    best_step: int
    steps: int
    best_valid_loss: float
    train_loss: float  # the last row of train.csv
    stop_reason: StopReason
    parameters: int
    trained_parameters: int  # with LoRA those of the adapters, which `parameters` do not hold
    tokens: int  # input tokens seen
    valid: dict[str, float]  # scores at the best step


def finetune(
    task: FinetuneTask,
    settings: Finetune,
    seed: int,
    checkpoints: "Checkpoints",
    on_log: OnLog = lambda values, step: None,
    checkpoint_seconds: float = 60.0,
) -> FinetuneReport:
    """Train the model of `task` in place; at the end it holds the weights of the best validation.

    Args:
        task: model, training rows and validation, see `tasks.py`.
        checkpoints: those of this very configuration; the newest one is resumed. The curves are
            in `history/` of their folder.
        on_log: called with the values of a curve and the update they belong to.
        checkpoint_seconds: a checkpoint is written after each epoch, and at the latest after this
            time. When they are written does not change the result.

    Raises:
        Interrupted: a signal asked to stop; the checkpoint is in place.
        GateError: the loss is not a number.
        ParamsError: `settings` do not fit the model.
    """
    from transformers import PrinterCallback

    from scratchformer.base.phases import phase
    from scratchformer.base.terminal import progress
    from scratchformer.checkpoints.signals import stop_on_signals
    from scratchformer.pretrained.finetuning.callbacks import Watch
    from scratchformer.pretrained.finetuning.flops import utilisation_of
    from scratchformer.pretrained.finetuning.loss import cross_entropy_loss
    from scratchformer.pretrained.finetuning.trainer import ResumableTrainer

    model = task.model
    adapted = add_adapters(model, settings, seed) if settings.method == "lora" else None
    freeze(model, settings.freeze, settings.frozen_layers)
    trainer = ResumableTrainer(
        task,
        _arguments(settings, seed, checkpoints.folder),
        checkpoints,
        loss=cross_entropy_loss(_class_weights(task, settings), settings.label_smoothing),
        patience=settings.patience,
    )
    trainer.remove_callback(PrinterCallback)
    found = trainer.find_checkpoint()
    utilisation = utilisation_of(task, settings.batch_size)
    updates = settings.epochs * -(-len(task.lengths) // settings.batch_size)
    with (
        stop_on_signals() as stop,
        progress("fine-tuning", updates, found) as bar,
        phase("updates"),
    ):
        trainer.add_callback(
            Watch(
                trainer.progress,
                trainer.history,
                trainer.throughput,
                settings.log_every,
                checkpoint_seconds,
                on_log,
                bar,
                stop,
                utilisation,
            )
        )
        trainer.train_to_the_end()
    trained = sum(parameter.numel() for parameter in trainer.trained_weights().values())
    if adapted is not None:
        merge_adapters(adapted)
    done = trainer.progress
    assert done.stop_reason is not None, "train_to_the_end sets it"
    return FinetuneReport(
        best_step=done.best_step,
        steps=trainer.state.global_step,
        best_valid_loss=done.best["loss"],
        train_loss=done.train_loss or 0.0,
        stop_reason=done.stop_reason,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained_parameters=trained,
        tokens=done.tokens,
        valid=done.best,
    )


def save_finetuned(
    model: "PreTrainedModel", tokenizer: Path, report: FinetuneReport, card: str, folder: Path
) -> None:
    """Write the folder that plain `transformers` loads: config, safetensors, tokenizer files,
    training.json with the report, and the model card as README.md."""
    from scratchformer.checkpoints.disk import full_disk_as_error

    size = sum(p.numel() * p.element_size() for p in model.parameters())
    with (
        quiet_transformers(),
        full_disk_as_error(folder, size),
        write_whole_folder(folder) as whole,
    ):
        shutil.copytree(tokenizer, whole, dirs_exist_ok=True)
        model.save_pretrained(whole)
        write_json(whole / "training.json", asdict(report))
        (whole / "README.md").write_text(card, encoding="utf-8")


def _class_weights(task: FinetuneTask, settings: Finetune) -> "Tensor | None":
    from scratchformer.pretrained.finetuning.loss import class_weights

    if settings.class_weights == "none":
        return None
    if not isinstance(task, Classification):
        raise ParamsError("finetune.class_weights: balanced is for the task classification only")
    return class_weights(task.labels, task.model.config.num_labels)


def _arguments(settings: Finetune, seed: int, folder: Path) -> "TrainingArguments":
    from scratchformer.pretrained.finetuning.arguments import OneDeviceArguments

    here = machine()
    return OneDeviceArguments(
        output_dir=str(folder),
        seed=seed,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        optim=settings.optimizer,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=SCHEDULES[settings.schedule],
        warmup_steps=settings.warmup_share,  # below 1, transformers reads it as a share
        weight_decay=settings.weight_decay,
        max_grad_norm=CLIP_NORM,
        bf16=here.precision == "bfloat16",
        tf32=False,  # with torch_compile it would be on
        torch_compile=here.compile,
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},  # frozen embeddings are no bar
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="no",  # `Watch` writes the curves
        use_cpu=here.device == "cpu",  # else it refuses bfloat16 without a GPU
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,  # the data set is row numbers; the collator looks them up
        dataloader_pin_memory=here.device.startswith("cuda"),
    )
