"""What a finished training leaves behind, and how its samples read."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scratchformer.base.files import write_json, write_whole_folder
from scratchformer.checkpoints.disk import full_disk_as_error
from scratchformer.text.tokenizers import TokenizerPair
from scratchformer.training.loop import Training
from scratchformer.training.objectives.objective import Sample
from scratchformer.transformer import save_model


def results_of(training: Training) -> dict[str, Any]:
    """training.json. Nothing in it depends on the clock, so equal trainings write equal bytes."""
    state = training.state
    return {
        "best_step": state.best_step,
        "steps": state.step,
        "best_valid_loss": state.best_values["loss"],
        "train_loss": state.train_loss,
        "stop_reason": state.stop_reason,
        "parameters": sum(p.numel() for p in training.parameters.values()),
        "tokens": state.tokens,
        "padding_share": round(training.batches.padding_share, 6),
        "valid": state.best_values,
    }


def write_outputs(
    training: Training, tokenizers: Path, labels: Sequence[str], model: Path, history: Path
) -> None:
    """The model with its tokenizers (and, for a classifier, the names of its labels in the order of
    their ids) in one folder, the curves in another, each whole or absent."""
    size = sum(p.numel() * p.element_size() for p in training.parameters.values())
    with full_disk_as_error(model, size), write_whole_folder(model) as folder:
        save_model(training.model, folder)
        shutil.copytree(tokenizers, folder, dirs_exist_ok=True)
        write_json(folder / "training.json", results_of(training))
        if labels:
            write_json(folder / "labels.json", labels)
    with write_whole_folder(history) as folder:
        shutil.copytree(training.recorder.history.folder, folder, dirs_exist_ok=True)


def readable(
    samples: Sequence[Sample], tokenizers: TokenizerPair, count: int
) -> list[dict[str, str]]:
    """`count` samples, spread evenly over their lengths, as text."""
    if tokenizers.target is None:
        return []
    write = tokenizers.target.decode
    return [
        {
            "source": tokenizers.source.decode(sample.source),
            "prediction": write(sample.prediction),
            "references": " | ".join(map(write, sample.references)),
            "right": "yes" if sample.prediction in sample.references else "no",
        }
        for sample in samples[:: max(1, len(samples) // count)][:count]
    ]
