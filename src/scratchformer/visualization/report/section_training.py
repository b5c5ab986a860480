"""Section: how a training went."""

from collections.abc import Iterator

from scratchformer.base.layout import TRACKS, TrackName
from scratchformer.visualization.analysis.predictions import load_history
from scratchformer.visualization.plots.curves import (
    gradient_norm_curve,
    layer_map,
    learning_rate_curve,
    loss_curve,
    score_curves,
)
from scratchformer.visualization.report.page.items import (
    Item,
    Missing,
    Picture,
    Section,
    or_missing,
)

MODEL_NAMES: dict[TrackName, str] = {
    "scratch": "from-scratch model",
    "finetune": "fine-tuned model",
}


def training_section(track: TrackName, loss_unit: str, clip_norm: float | None) -> Section:
    """Losses, learning rate, gradient norms and validation scores of one training.

    Args:
        loss_unit: what one value of the loss is an average of.
        clip_norm: the largest gradient norm that the training let through, if it is known.
    """
    return Section(
        f"training-{track}",
        f"Training of the {MODEL_NAMES[track]}",
        "One update is one step of the optimizer. Validation rows are never trained on; the model "
        "of the best validation is the one that is kept and tested.",
        or_missing(f"Curves of the {MODEL_NAMES[track]}", _items(track, loss_unit, clip_norm)),
    )


def _items(track: TrackName, loss_unit: str, clip_norm: float | None) -> Iterator[Item]:
    name = MODEL_NAMES[track]
    train, valid = load_history(track, "train"), load_history(track, "valid")
    yield Picture(
        f"{track}-loss",
        "Loss",
        "Both lines should fall; where validation turns up while training goes on falling, the "
        "model has begun to learn its rows by heart. The training objective includes label "
        "smoothing and dropout, validation does not, so it may lie below. Dotted: best validation.",
        loss_curve(train, valid, f"Loss of the {name}", loss_unit),
    )
    if "learning_rate" in train:
        yield Picture(
            f"{track}-learning-rate",
            "Learning rate",
            "Rises during warm-up, while the optimizer's averages are still unreliable, and then "
            "follows the schedule of params.yaml.",
            learning_rate_curve(train, f"Learning rate of the {name}"),
        )
    else:
        yield Missing("Learning rate", "The history has no column learning_rate.")
    if "gradient_norm" in train and train["gradient_norm"].notna().any():
        yield Picture(
            f"{track}-gradient-norm",
            "Gradient norm",
            "The length of the gradient over all parameters, before clipping. Single spikes are "
            "hard batches; a lasting rise is a training about to diverge.",
            gradient_norm_curve(train, f"Gradient norm of the {name}", clip_norm),
        )
    else:
        yield Missing("Gradient norm", "The history has no gradient norms.")
    if set(valid.columns) - {"step", "loss", "epoch"}:
        yield Picture(
            f"{track}-validation-scores",
            "Validation scores",
            "What the loss is a stand-in for, measured on the validation split at the same "
            "updates as the validation loss.",
            score_curves(valid, f"Validation scores of the {name}"),
        )
    if (TRACKS[track].history / "diagnostics.csv").exists():  # only the scratch track looks inside
        diagnostics = load_history(track, "diagnostics")
        yield Picture(
            f"{track}-layers",
            "Layer by layer",
            "Left, the length of each layer's gradient: a column that fades from one end to the "
            "other is a gradient that vanishes on its way. Right, by how much of itself a layer "
            "changed in one update: about one part in a thousand (-3) is sound, much more is a "
            "learning rate too high for it, much less a layer that hardly learns.",
            layer_map(diagnostics, f"Layers of the {name}"),
        )
