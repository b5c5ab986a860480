"""Words for made histories: each says what it was made to show, and nothing else."""

import pytest

from scratchformer.explanation.curves import explain_curves
from scratchformer.explanation.layers import explain_layers
from scratchformer.monitoring.history import read_history
from scratchformer.monitoring.stop_reason import StopReason

MAX_STEPS, PATIENCE = StopReason.MAX_STEPS, StopReason.PATIENCE


def curves(train: list[float], valid: list[float]):
    return [
        [{"step": 10.0 * (place + 1), "loss": loss} for place, loss in enumerate(losses)]
        for losses in (train, valid)
    ]


@pytest.mark.parametrize(
    ("train", "valid", "reason", "word", "silent"),
    [
        ([2, 1, 0.2], [2, 1.2, 1.6], PATIENCE, "overfitting", ("plateau", "still falling")),
        ([1, 1, 1], [1.001, 1.0, 1.0], MAX_STEPS, "plateau", ("overfitting", "still")),
        ([2, 1.5, 1], [2, 1.5, 1.1], MAX_STEPS, "still falling by 27%", ("plateau", "overfit")),
        # Fine-tuning stops by accuracy, while the loss may still be falling.
        ([2, 1.5, 1], [2, 1.5, 1.1], PATIENCE, "ended early", ("more updates", "overfit")),
        ([2, 1, 0.5], [2, 1.2, 1.19], MAX_STEPS, "138% above training", ("overfitting:",)),
        # A copy learned to the letter: ratios of losses near zero mean nothing.
        ([2, 0.01, 0.001], [2, 0.02, 0.002], MAX_STEPS, "learned", ("above", "still falling")),
        ([2, 0.01, 0.001], [2, 0.02, 0.011], MAX_STEPS, "above training", ("learned",)),
    ],
)
def test_curves(train, valid, reason, word, silent):
    told = " | ".join(explain_curves(*curves(train, valid), reason, included=""))
    assert word in told
    assert not any(other in told for other in silent)


def test_the_best_step_and_the_reason_of_the_end():
    told = explain_curves(*curves([2, 1, 1], [3, 2, 2.5]), PATIENCE, included="label smoothing")
    assert told[0] == "best after 20 of 30 updates; ended early, no validation after it was better"
    assert "label smoothing included" in told[1]
    assert explain_curves([], [], MAX_STEPS, included="") == []


def layers(**changes: float):
    row = {"step": 1.0}
    for stack in ("encoder", "decoder"):
        for layer in range(3):
            row[f"{stack}.{layer}.gradient_norm"] = 0.1
            row[f"{stack}.{layer}.update_ratio"] = -3.0
            row[f"{stack}.{layer}.dead_units"] = 0.1
        row[f"{stack}.final_norm.gradient_norm"] = 1e-9
    return [{**row, **{key.replace("__", "."): value for key, value in changes.items()}}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder__0__gradient_norm": 1e-6}, ["gradients vanish in the encoder: 1.0e-06 in enc"]),
        ({"decoder__0__gradient_norm": 1e3}, ["gradients explode in the decoder: 1.0e+03 in dec"]),
        ({"encoder__1__update_ratio": -0.5}, ["weights that change by more than a tenth in one up"
                                              "date: encoder.1;"]),
        ({"decoder__2__update_ratio": -7.0}, ["learning much less than the other layers: decoder"]),
        ({"encoder__2__dead_units": 0.75}, ["units that are zero at every token: encoder.2 75%"]),
        ({}, []),
    ],
)  # fmt: skip
def test_layers(changes, words):
    told = explain_layers(layers(**changes))
    assert len(told) == len(words)
    assert all(line.startswith(word) for line, word in zip(told, words, strict=True))
    assert explain_layers([]) == []


def test_a_deep_post_norm_model_is_read_from_its_own_file(training):
    """From the loop's file to words: a model whose first layer gets no gradient to speak of."""
    import torch

    one = training(diagnose_every=2, max_steps=4, model__num_encoder_layers=3)
    with torch.no_grad():  # the residual path of layer 1 is cut to a millionth
        one.model.encoder.layers[1].register_forward_hook(
            lambda module, inputs, output: output.detach() + 1e-6 * (output - output.detach())
        )
    one.run()
    told = explain_layers(read_history(one.recorder.history.path("diagnostics")))
    assert told[0].startswith("gradients vanish in the encoder:")
    assert "norm_position: pre" in told[0]
