"""Projections are repeatable, and the number beside them is measured before them."""

import itertools

import numpy as np
import pytest
from tests.visualization.conftest import texts_of

from scratchformer.visualization.analysis.inspection.projection import (
    neighbour_agreement,
    neighbourhoods,
    principal_components,
)
from scratchformer.visualization.analysis.inspection.tokens import token_kinds
from scratchformer.visualization.plots.inspection.embeddings import (
    MAX_TOKEN_LABELS,
    sentence_map,
    token_map,
)


def clusters(rows: int, classes: int = 3, apart: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.arange(rows) % classes
    centres = draw.normal(size=(classes, 16)) * apart
    return (centres[labels] + draw.normal(size=(rows, 16))).astype(np.float32), labels


def test_principal_components_keep_the_largest_directions() -> None:
    vectors = np.zeros((5, 3), dtype=np.float32)
    vectors[:, 1] = [0, 10, 20, 30, 40]
    vectors[:, 2] = [1, -1, 0, -1, 1]
    points, shares = principal_components(vectors)
    assert np.allclose(np.abs(points[:, 0]), [20, 10, 0, 10, 20])
    assert shares[0] == pytest.approx(1000 / 1004) and sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows_have_a_place_too(rows: int) -> None:
    vectors = np.ones((rows, 4), dtype=np.float32)
    assert principal_components(vectors)[0].shape == (rows, 2)
    assert neighbourhoods(vectors, seed=0).shape == (rows, 2)
    assert np.isfinite(principal_components(vectors)[0]).all()


def test_one_dimension_is_padded() -> None:
    points, shares = principal_components(np.array([[0.0], [1.0]], dtype=np.float32))
    assert points.shape == (2, 2) and shares == (1.0, 0.0)


def test_neighbourhoods_are_repeatable_and_keep_clusters_apart() -> None:
    vectors, labels = clusters(60)
    first = neighbourhoods(vectors, seed=1)
    assert np.array_equal(first, neighbourhoods(vectors, seed=1))
    assert neighbour_agreement(first, labels, 5) > 0.9


def test_agreement_counts_neighbours_of_the_same_class() -> None:
    vectors, labels = clusters(60)
    assert neighbour_agreement(vectors, labels) == 1.0
    assert neighbour_agreement(vectors, np.arange(60)) == 0.0
    assert np.isnan(neighbour_agreement(vectors[:1], labels[:1]))


def test_tokens_stand_at_their_places() -> None:
    points = np.array([[0, 0], [1, 2], [3, 1]], dtype=np.float32)
    axes = token_map(points, ["AA", "B", "NG"], ["vowel", "stop", "nasal"], (0.5, 0.2), "t").axes[0]
    assert [(text.get_text(), tuple(text.xy)) for text in axes.texts] == [
        ("AA", (0, 0)), ("B", (1, 2)), ("NG", (3, 1)),
    ]  # fmt: skip
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["vowel", "stop", "nasal"]
    assert "50%" in axes.get_xlabel() and "20%" in axes.get_ylabel()


def test_tokens_at_one_place_stay_readable() -> None:
    points = np.zeros((4, 2), dtype=np.float32)
    points[3] = 1
    axes = token_map(points, ["JH", "P", "OY", "S"], ["x"] * 4, (0.5, 0.2), "t").axes[0]
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    for box in boxes:
        assert not any(box.contains(*place) for place in axes.transData.transform(points))


def test_large_vocabularies_are_labelled_in_part() -> None:
    points = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    axes = token_map(points, ["x"] * 400, ["letters"] * 400, (0.1, 0.1), "t").axes[0]
    assert len(axes.texts) == MAX_TOKEN_LABELS
    assert axes.get_legend() is None  # one kind needs none


@pytest.mark.parametrize("classes", [1, 2, 21])
def test_texts_of_every_class_are_drawn_and_named(classes: int) -> None:
    names = [f"{number:02d} · class {number}" for number in range(classes)]
    labels = [names[number % classes] for number in range(60)]
    points = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    figure = sentence_map([("before", points), ("after", -points)], labels, names, "t")
    for axes in figure.axes:
        drawn = sum(len(each.get_offsets()) for each in axes.collections)
        assert drawn == 60 and len(axes.collections) == classes
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == names
    assert all(text.get_fontsize() >= 8 for text in texts_of(figure))


def test_too_many_classes_to_name_are_counted() -> None:
    names = [f"c{number}" for number in range(80)]
    points = np.zeros((80, 2), dtype=np.float32)
    figure = sentence_map([("before", points)], names, names, "t")
    assert figure.legends == []
    assert any("80 classes" in text.get_text() for text in figure.texts)


def test_phonemes_are_sorted_by_manner_and_other_tokens_by_writing() -> None:
    assert token_kinds(["AA", "K", "CH"]) == ["vowel", "stop", "affricate"]
    assert token_kinds(["AA", "x"]) == ["letters", "letters"]
    assert token_kinds(["▁der", "7", "."]) == ["letters", "digits", "other"]
