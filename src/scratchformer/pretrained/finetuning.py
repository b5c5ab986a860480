"""Fine-tuning a pretrained classifier on tokenized rows.

`finetune` trains in place and leaves the best weights of the validation split in the model;
`save_finetuned` writes the folder that plain `transformers` loads.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scratchformer.data.batches import TokenColumn
from scratchformer.errors import ParamsError
from scratchformer.files import write_json, write_whole_folder
from scratchformer.params import Finetune
from scratchformer.pretrained.inference import logits, pad_id, padded_inputs
from scratchformer.pretrained.loading import quiet_transformers

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, TrainingArguments

    from scratchformer.training.checkpoint import Checkpoints

OnLog = Callable[[Mapping[str, float], int], None]
VALIDATION_BATCH = 128  # rows
CLIP_NORM = 1.0  # largest global gradient norm


@dataclass(frozen=True)
class FinetuneReport:
    """How the training went. No timings: equal runs give equal reports."""

    best_step: int
    steps: int
    best_valid_loss: float
    train_loss: float  # the last row of train.csv
    stop_reason: str
    parameters: int
    trained_parameters: int
    tokens: int  # input tokens seen
    valid: dict[str, float]  # scores at the best step


def finetune(
    model: "PreTrainedModel",
    train: pa.Table,
    valid: pa.Table,
    settings: Finetune,
    seed: int,
    checkpoints: "Checkpoints",
    on_log: OnLog = lambda values, step: None,
    checkpoint_seconds: float = 60.0,
) -> FinetuneReport:
    """Train `model` in place; at the end it holds the weights of the best validation accuracy
    (of equal ones, that with the lower loss).

    Args:
        train: tokenized rows with `input_ids` and `label`; `valid` likewise.
        checkpoints: those of this very configuration; the newest one is resumed. The curves are
            in `history/` of their folder.
        on_log: called with the values of a curve and the update they belong to.
        checkpoint_seconds: a checkpoint is written after each epoch, and at the latest after this
            time. When they are written does not change the result.

    Raises:
        Interrupted: a signal asked to stop; the checkpoint is in place.
        GateError: the loss is not a number.
    """
    import torch
    from transformers import PrinterCallback

    from scratchformer.pretrained.trainer import ResumableTrainer
    from scratchformer.pretrained.watching import HISTORY_COLUMNS, Watch
    from scratchformer.terminal import progress
    from scratchformer.training.history import History
    from scratchformer.training.signals import stop_on_signals

    freeze(model, settings.freeze, settings.frozen_layers)
    column, labels = TokenColumn(train.column("input_ids")), train.column("label").to_numpy()

    def collate(records: list[int]) -> dict[str, "Tensor"]:
        rows = np.asarray(records)
        gold = torch.from_numpy(labels[rows].astype(np.int64))
        return {**padded_inputs(column, rows, pad_id(model)), "labels": gold}

    weights = None
    if settings.class_weights == "balanced":
        weights = torch.from_numpy(class_weights(labels, model.config.num_labels))
    trainer = ResumableTrainer(
        model,
        _arguments(settings, seed, checkpoints.folder),
        checkpoints,
        lengths=column.lengths,
        collate=collate,
        loss=classification_loss(weights, settings.label_smoothing),
        validate=lambda model: score_classification(model, valid),
        select=lambda scores: (scores["accuracy"], -scores["loss"]),
        patience=settings.patience,
        history=History(checkpoints.folder / "history", HISTORY_COLUMNS),
    )
    trainer.remove_callback(PrinterCallback)
    found = trainer.find_checkpoint()
    updates = settings.epochs * -(-len(train) // settings.batch_size)
    with stop_on_signals() as stop, progress("fine-tuning", updates, found) as bar:
        trainer.add_callback(
            Watch(trainer, settings.log_every, checkpoint_seconds, on_log, bar, stop)
        )
        trainer.train_to_the_end()
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    done = trainer.progress
    return FinetuneReport(
        best_step=done.best_step,
        steps=trainer.state.global_step,
        best_valid_loss=done.best["loss"],
        train_loss=done.train_loss or 0.0,
        stop_reason=done.stop_reason or "",
        parameters=sum(size for size, _ in sizes),
        trained_parameters=sum(size for size, trained in sizes if trained),
        tokens=done.tokens,
        valid=done.best,
    )


def save_finetuned(
    model: "PreTrainedModel", tokenizer: Path, report: FinetuneReport, folder: Path
) -> None:
    """Write the folder that plain `transformers` loads: config, safetensors, tokenizer files, and
    training.json with the report."""
    model.config.problem_type = "single_label_classification"
    with quiet_transformers(), write_whole_folder(folder) as whole:
        shutil.copytree(tokenizer, whole, dirs_exist_ok=True)
        model.save_pretrained(whole)
        write_json(whole / "training.json", asdict(report))


def _arguments(settings: Finetune, seed: int, folder: Path) -> "TrainingArguments":
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder),
        seed=seed,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_share,  # below 1, transformers reads it as a share
        weight_decay=settings.weight_decay,
        max_grad_norm=CLIP_NORM,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="no",  # `Watch` writes the curves
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,  # the data set is row numbers; the collator looks them up
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def freeze(model: "PreTrainedModel", what: str, layers: int = 0) -> None:
    """Take parameters out of the training: no gradient, no optimizer state, no backward pass.

    Args:
        what: "none", or "embeddings" (all of them: words, positions, segments and their norm).
        layers: this many of the lowest blocks too, together with the embeddings (a gradient that
            reaches the embeddings runs through all blocks anyway).

    Raises:
        ParamsError: the model has fewer blocks than that.
    """
    if what == "none":
        return
    body = model.base_model
    embeddings = getattr(body, "embeddings", None) or model.get_input_embeddings()
    embeddings.requires_grad_(False)
    blocks = _blocks(model) if layers else []
    if layers > len(blocks):
        raise ParamsError(
            f"finetune.frozen_layers: {layers}, but {type(body).__name__} has {len(blocks)} layers"
        )
    for block in blocks[:layers]:
        block.requires_grad_(False)


def _blocks(model: "PreTrainedModel") -> Any:
    """The list of encoder blocks, whatever the architecture calls it."""
    from torch.nn import ModuleList

    depth = model.config.num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, ModuleList) and len(module) == depth:
            return module
    raise ParamsError(
        f"finetune.frozen_layers: {type(model.base_model).__name__} has no list of {depth} layers"
    )


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """[classes] weights inverse to the frequency, 1 on average over the rows of `labels`."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), dtype=np.float32)


def classification_loss(
    weights: "Tensor | None", smoothing: float
) -> Callable[["Any", "Tensor", Any], "Tensor"]:
    """Cross-entropy as a mean over all items of an update, in nats."""
    from torch.nn.functional import cross_entropy

    def loss(outputs: Any, labels: "Tensor", num_items_in_batch: Any = None) -> "Tensor":
        total = cross_entropy(
            outputs.logits.flatten(0, -2),
            labels.flatten(),
            weight=weights,
            label_smoothing=smoothing,
            reduction="sum",
        )
        mean: Tensor = total / num_items_in_batch
        return mean

    return loss


def score_classification(
    model: "PreTrainedModel", table: pa.Table, batch_size: int = VALIDATION_BATCH
) -> dict[str, float]:
    """Loss in nats per row (without smoothing), accuracy and macro-F1 on tokenized rows."""
    from scipy.special import log_softmax
    from sklearn.metrics import f1_score

    gold = table.column("label").to_numpy()
    scores = logits(model, table.column("input_ids"), batch_size)
    predicted = scores.argmax(axis=1)
    log_likelihood = log_softmax(scores, axis=1)[np.arange(len(gold)), gold]
    classes = np.arange(scores.shape[1])
    return {
        "loss": float(-log_likelihood.mean()),
        "accuracy": float((predicted == gold).mean()),
        "macro_f1": float(
            f1_score(gold, predicted, labels=classes, average="macro", zero_division=0)
        ),
    }
