"""Every map is where it belongs, with its tokens, at any size."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.visualization.conftest import overlapping

from scratchformer.visualization.plots.inspection.attention import attention_grid, attention_map
from scratchformer.visualization.plots.inspection.token_bars import token_bars


def random_maps(layers: int, heads: int, queries: int, keys: int) -> NDArray[np.float32]:
    weights = np.random.default_rng(0).random((layers, heads, queries, keys)).astype(np.float32)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def tokens(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


def test_the_tile_of_a_layer_and_head_is_its_map() -> None:
    maps = random_maps(3, 4, 5, 7)
    axes = attention_grid(maps, tokens(5), tokens(7), "x", "query", "key").axes[0]
    image = axes.images[0].get_array()
    for layer in range(3):
        for head in range(4):
            top, left = layer * 6, head * 8
            assert np.array_equal(image[top : top + 5, left : left + 7], maps[layer, head])
    assert image.mask[5].all() and image.mask[:, 7].all()  # the gaps


def test_small_maps_are_labelled_with_tokens() -> None:
    maps = random_maps(2, 2, 2, 3)
    axes = attention_grid(maps, ["A", "B"], ["x", " ", "z"], "t", "q", "k").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A", "B"] * 2
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "␣", "z"] * 2
    words = [text.get_text() for text in axes.texts]
    assert {"layer 1", "layer 2", "head 1", "head 2"} <= set(words)
    assert "rows: q, columns: k" in words


def test_many_heads_are_numbered_and_the_numbers_explained() -> None:
    names = [f"word{number}" for number in range(18)]
    figure = attention_grid(random_maps(6, 12, 18, 18), names, names, "t", "q", "k")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["1", "10"]
    explained = next(t.get_text() for t in axes.texts if "positions:" in t.get_text())
    assert all(f"{i}\u00a0{name}" in explained for i, name in enumerate(names, 1))
    figure.canvas.draw()
    assert overlapping(axes.get_xticklabels()) == []


@pytest.mark.parametrize("count", [1, 9, 30, 64])
def test_labels_do_not_overlap(count: int) -> None:
    names = [f"token{number}" for number in range(count)]
    for figure in (
        attention_grid(random_maps(3, 4, count, count), names, names, "t", "q", "k"),
        attention_map(random_maps(1, 1, count, count)[0, 0], names, names, "t", "q", "k"),
    ):
        figure.canvas.draw()
        axes = figure.axes[0]
        assert overlapping(axes.get_xticklabels()) == []
        assert overlapping(axes.get_yticklabels()) == []


def test_the_colour_scale_can_be_shared() -> None:
    maps = random_maps(1, 1, 2, 2)
    own = attention_grid(maps, tokens(2), tokens(2), "t", "q", "k")
    shared = attention_grid(maps, tokens(2), tokens(2), "t", "q", "k", highest=0.9)
    assert own.axes[0].images[0].get_clim() == (0, pytest.approx(float(maps.max())))
    assert shared.axes[0].images[0].get_clim() == (0, 0.9)


def test_maps_and_tokens_must_fit() -> None:
    with pytest.raises(ValueError, match="3 x 4 positions for 3 x 3 tokens"):
        attention_grid(random_maps(1, 1, 3, 4), tokens(3), tokens(3), "t", "q", "k")


def test_the_large_map_writes_weights_where_there_is_room() -> None:
    weights = np.array([[1.0, 0.0], [0.25, 0.75]], dtype=np.float32)
    axes = attention_map(weights, ["A", "B"], ["x", "y"], "t", "q", "k").axes[0]
    assert [text.get_text() for text in axes.texts if text.get_text() != "t"] == ["1", ".25", ".75"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("k", "q")


def test_token_flow_has_a_bar_for_each_token_and_model() -> None:
    shares = {"before": np.array([0.2, 0.8]), "after": np.array([0.6, 0.4])}
    axes = token_bars(shares, ["[CLS]", "a"], "t").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.2, 0.8, 0.6, 0.4]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["[CLS]", "a"]
    assert axes.yaxis_inverted()  # the sentence reads from top to bottom
