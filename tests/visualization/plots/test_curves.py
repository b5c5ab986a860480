"""The curves hold the histories, also very short and broken ones."""

import numpy as np
import pandas as pd
from tests.visualization.conftest import histories

from scratchformer.visualization.plots.curves import (
    gradient_norm_curve,
    layer_map,
    learning_rate_curve,
    loss_curve,
    score_curves,
)


def test_losses_and_the_best_validation() -> None:
    train, valid = histories(4)
    valid["loss"] = [0.9, 0.5, 0.7, np.nan]
    axes = loss_curve(train, valid, "Loss", "nats per row").axes[0]
    objective, validation, best = axes.get_lines()
    assert list(objective.get_xdata()) == [10, 20, 30, 40]
    assert list(objective.get_ydata()) == list(train["loss"])
    assert list(validation.get_ydata())[:3] == [0.9, 0.5, 0.7]
    assert best.get_xdata()[0] == 20
    assert "lowest 0.5 at update 20" in axes.get_legend().get_texts()[1].get_text()
    assert axes.get_ylabel() == "loss, nats per row"


def test_one_point_is_a_dot() -> None:
    train, valid = histories(1)
    assert learning_rate_curve(train, "x").axes[0].get_lines()[0].get_marker() == "o"
    assert loss_curve(train, valid, "x", "nats").axes[0].get_lines()[1].get_marker() == "o"
    assert list(score_curves(valid, "x").axes[0].get_xticks()) == [10]


def test_no_validation_at_all() -> None:
    train, valid = histories(3)
    assert len(loss_curve(train, valid.head(0), "x", "nats").axes[0].get_lines()) == 1


def test_a_single_training_row_is_seen_in_the_loss_too() -> None:
    train, valid = histories(1)
    assert loss_curve(train, valid, "x", "nats").axes[0].get_lines()[0].get_marker() == "o"


def test_clipping_is_counted_and_broken_norms_are_named() -> None:
    train, _ = histories(4)
    train["gradient_norm"] = [0.5, 2.0, np.inf, np.nan]
    axes = gradient_norm_curve(train, "x", clip_norm=1.0).axes[0]
    assert list(axes.get_lines()[0].get_ydata()) == [0.5, 2.0]
    assert "clipped to 1 (50%" in axes.get_legend().get_texts()[0].get_text()
    assert "2 logged updates" in axes.texts[0].get_text()
    axes.figure.canvas.draw()
    assert not any("$" in label.get_text() for label in axes.get_yticklabels())


def test_norms_that_are_all_broken_still_give_a_figure() -> None:
    train, _ = histories(2)
    train["gradient_norm"] = np.nan
    axes = gradient_norm_curve(train, "x", clip_norm=None).axes[0]
    axes.figure.canvas.draw()
    assert "2 logged updates" in axes.texts[0].get_text()


def test_one_panel_for_each_score() -> None:
    valid = pd.DataFrame({"step": [1, 2], "loss": [1, 2], "epoch": [1, 2], "macro_f1": [0.1, 0.2],
                          "accuracy": [0.3, 0.4]})
    figure = score_curves(valid, "Scores")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["macro f1", "accuracy"]
    assert list(figure.axes[1].get_lines()[0].get_ydata()) == [0.3, 0.4]


def test_layers_by_steps() -> None:
    """One row a layer in the order of the file, the gradient as its logarithm."""
    table = pd.DataFrame({"step": [100, 200, 300]})
    for layer, norm in (("source_embedding", 0.1), ("encoder.0", 1.0), ("output", 0.0)):
        table[f"{layer}.gradient_norm"] = norm
        table[f"{layer}.update_ratio"] = -3.0
    table["noise"] = 1.0
    table.loc[table.index[-1], "output.update_ratio"] = -11.0  # no column may pale all others
    figure = layer_map(table, "Layers")
    norms, ratios = figure.axes[0], figure.axes[2]  # each is followed by its colour bar
    assert norms.get_title(loc="left") == "length of the gradient"
    assert ratios.get_title(loc="left") == "size of one update"
    assert [label.get_text() for label in norms.get_yticklabels()] == [
        "source_embedding", "encoder.0", "output",
    ]  # fmt: skip
    assert norms.images[0].get_array()[:, 0].tolist() == [-1.0, 0.0, -12.0]
    assert ratios.images[0].get_array().shape == (3, 3)
    assert ratios.images[0].get_clim() == (-6.0, -3.0)
    assert [label.get_text() for label in norms.get_xticklabels()] == ["100", "200", "300"]
