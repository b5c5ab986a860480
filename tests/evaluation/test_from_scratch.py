"""Decoding and losses of a tiny model: right rows, right sums, whatever the batches."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from scratchformer.evaluation.systems.from_scratch import (
    class_probabilities,
    decode,
    token_losses,
)
from scratchformer.transformer import EncoderClassifier, Transformer, TransformerConfig, greedy

EOS = 2


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        source_vocab_size=12, target_vocab_size=11, d_model=16, num_heads=2, d_ff=32,
        num_encoder_layers=1, num_decoder_layers=1, tie_embeddings="none",
    )  # fmt: skip
    return Transformer(config).eval()


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """40 rows of mixed lengths, every third one with two references."""
    random = np.random.default_rng(0)
    rows, sources, targets = [], [], []
    for row in range(40):
        source = [*random.integers(4, 12, random.integers(1, 9)).tolist(), EOS]
        for _ in range(2 if row % 3 == 0 else 1):
            rows.append(row)
            sources.append(source)
            targets.append([*random.integers(4, 11, random.integers(1, 7)).tolist(), EOS])
    types = pa.list_(pa.int32())
    return pa.table(
        {"row": pa.array(rows, pa.int32()), "source": pa.array(sources, types),
         "target": pa.array(targets, types)}
    )  # fmt: skip


def first_records(table: pa.Table) -> list[int]:
    return np.unique(table.column("row").to_numpy(), return_index=True)[1].tolist()


def test_every_row_gets_its_own_prediction(model: Transformer, table: pa.Table) -> None:
    decoded = decode(model, table, 40, beam_size=1, max_length=9, batch_size=7)
    for row, record in enumerate(first_records(table)):
        alone = greedy(model, torch.tensor([table.column("source")[record].as_py()]), 9)
        assert decoded.ids[row] == alone.ids[0].tolist()
        assert decoded.scores[row] == pytest.approx(alone.scores.item(), abs=1e-4)


def test_a_beam_finds_predictions_at_least_as_likely_per_token(
    model: Transformer, table: pa.Table
) -> None:
    settings = {"max_length": 6, "batch_size": 16}
    one = decode(model, table, 40, beam_size=1, **settings)
    four = decode(model, table, 40, beam_size=4, **settings)
    mean = [score / len(ids) for score, ids in zip(four.scores, four.ids, strict=True)]
    assert np.mean(mean) > np.mean(
        [score / len(ids) for score, ids in zip(one.scores, one.ids, strict=True)]
    )


def test_progress_counts_the_rows(model: Transformer, table: pa.Table) -> None:
    done: list[int] = []
    decode(
        model, table, 40, beam_size=1, max_length=3, batch_size=16, advance=done.append
    )
    assert done == [16, 16, 8]


@pytest.mark.parametrize("logits_at_once", [1, 50, 1 << 22])
def test_losses_are_those_of_torch_without_smoothing(
    model: Transformer, table: pa.Table, logits_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "scratchformer.evaluation.systems.from_scratch._LOGITS_AT_ONCE"
    monkeypatch.setattr(place, logits_at_once)
    losses = token_losses(model, table, 40, batch_size=8)
    nll, tokens, right = np.zeros(40), np.zeros(40), np.zeros(40)
    for record in table.to_pylist():
        target = torch.tensor([record["target"]])
        begin = torch.tensor([[model.config.bos_id]])
        with torch.no_grad():
            logits = model(torch.tensor([record["source"]]), torch.cat([begin, target[:, :-1]], 1))
        loss = torch.nn.functional.cross_entropy(logits[0], target[0], reduction="sum")
        nll[record["row"]] += loss.item()
        tokens[record["row"]] += target.numel()
        right[record["row"]] += (logits[0].argmax(-1) == target[0]).sum().item()
    np.testing.assert_allclose(losses.nll, nll, rtol=1e-4)
    np.testing.assert_array_equal(losses.tokens, tokens)
    np.testing.assert_array_equal(losses.right, right)
    assert losses.loss == pytest.approx(nll.sum() / tokens.sum(), rel=1e-4)


def test_class_probabilities_keep_the_order_of_the_rows(table: pa.Table) -> None:
    torch.manual_seed(0)
    config = TransformerConfig(
        source_vocab_size=12, d_model=16, num_heads=2, d_ff=32, num_encoder_layers=1, num_labels=3
    )
    model = EncoderClassifier(config).eval()
    found = class_probabilities(model, table, batch_size=9)
    assert found.shape == (table.num_rows, 3)
    for row, ids in enumerate(table.column("source").to_pylist()):
        with torch.no_grad():
            alone = model(torch.tensor([ids])).softmax(-1)[0].numpy()
        np.testing.assert_allclose(found[row], alone, atol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_no_prediction_is_longer_than_the_limit_and_some_reach_it(
    model: Transformer, table: pa.Table, beam_size: int
) -> None:
    lengths = {
        limit: [
            len(ids)
            for ids in decode(
                model, table, 40, beam_size=beam_size, max_length=limit, batch_size=16
            ).ids
        ]
        for limit in (3, 4)
    }
    assert max(lengths[3]) == 3 and max(lengths[4]) == 4
