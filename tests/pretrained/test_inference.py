"""Batching is invisible: results are those of each row alone, in the order of the rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from scratchformer.params import Pretrained
from scratchformer.pretrained.inference import classify, classify_probabilities, embed
from scratchformer.pretrained.models.loading import load_classifier, load_encoder

LABELS = ["first", "second", "third"]


@pytest.fixture
def settings(tiny_bert: Path) -> Pretrained:
    return Pretrained(kind="folder", name=str(tiny_bert))


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_probabilities_are_those_of_each_row_alone(
    settings: Pretrained, rows: pa.Table, batch_size: int
) -> None:
    model = load_classifier(settings, LABELS, seed=1)
    some = rows.slice(20, 40)  # a slice: offsets do not start at 0
    found = classify(model, some, batch_size)
    with torch.inference_mode():
        alone = [
            model(input_ids=torch.tensor([row])).logits.softmax(-1)[0].tolist()
            for row in some.column("source").to_pylist()
        ]
    np.testing.assert_allclose(found, alone, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert found.dtype == np.float32


def test_vectors_are_the_mean_over_the_tokens_of_the_row(
    settings: Pretrained, rows: pa.Table
) -> None:
    model = load_encoder(settings)
    some = rows.slice(0, 9)
    found = embed(model, some, batch_size=4)
    with torch.inference_mode():
        for vector, row in zip(found, some.column("source").to_pylist(), strict=True):
            mean = model(input_ids=torch.tensor([row])).last_hidden_state[0].mean(dim=0)
            np.testing.assert_allclose(vector, mean / mean.norm(), atol=1e-6)


def test_a_folder_and_both_kinds_of_attention_give_the_same(
    settings: Pretrained, rows: pa.Table, tmp_path: Path
) -> None:
    model = load_classifier(settings, LABELS, seed=1, attention="eager")
    model.save_pretrained(tmp_path)
    np.testing.assert_allclose(
        classify_probabilities(tmp_path, rows, 32),
        classify(model, rows, 32),
        atol=1e-6,
    )


def test_no_rows(settings: Pretrained) -> None:
    empty = pa.table({"source": pa.array([], pa.list_(pa.int32()))})
    assert classify(load_classifier(settings, LABELS, seed=1), empty, 8).shape == (0, 3)
