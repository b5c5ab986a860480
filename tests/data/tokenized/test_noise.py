"""Word dropout and BPE-dropout: the right share, and a function of (seed, epoch, record) alone."""

import json
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.training.conftest import make_settings
from tokenizers import Tokenizer

from scratchformer import params
from scratchformer.base.errors import ParamsError
from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.data.tokenized.bpe_dropout import BPEDropout, _merges_of, make_bpe_dropout
from scratchformer.data.tokenized.noise import WordDropout, make_noise, uniform
from scratchformer.text.tokenizers import EOS_ID, UNK_ID, TokenizerPair, train_tokenizer

TEXTS = [
    "the lower tower is newer than the lowest of the towers",
    "it's a new, lower (and wider) tower; lower, newer!",
    "  two  blanks, a ▁ mark and ▁▁two ",
    "new new new newest widest lowest tower's ooo ooooo",
    "",
]
UNSEEN = ["zebra ☃ the 塔 tower", "</s> the <pad> <unk>", "TOWER.lower...new ooooooooo"]


def tokenizer_of(algorithm: Any, size: int = 90) -> Tokenizer:
    settings = params.Tokenizer(algorithm=algorithm, vocab_size=size, lowercase=False)
    return train_tokenizer(TEXTS * 3, settings)


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    return tokenizer_of("bpe")


def table_of(tokenizer: Tokenizer) -> pa.Table:
    ids = [tokenizer.encode(text).ids for text in TEXTS * 8]
    column = pa.array(ids, pa.list_(pa.int32()))
    numbers = pa.array(range(len(ids)), pa.int32())
    return pa.table({"row": numbers, "source": column, "target": column})


def rows(batch: Batch, side: str = "source") -> dict[int, list[int]]:
    """Record → ids without padding."""
    found = zip(batch.records.tolist(), getattr(batch, side).tolist(), strict=True)
    return {record: [token for token in ids if token] for record, ids in found}


def test_without_dropout_the_tokens_are_those_of_the_library_and_with_all_of_it_letters(bpe):
    merges = _merges_of(bpe)
    for text in TEXTS + UNSEEN:
        tokens = bpe.encode(text).ids
        assert merges.drop(tokens, 0.0, Random(0).random) == tokens
        letters = merges.drop(tokens, 1.0, Random(0).random)
        assert all(len(bpe.id_to_token(token)) == 1 for token in letters if token > UNK_ID)
        some = merges.drop(tokens, 0.3, Random(1).random)
        assert bpe.decode(some) == bpe.decode(tokens) == bpe.decode(letters)
    tokens = bpe.encode(TEXTS[0]).ids
    lengths = [len(merges.drop(tokens, p, Random(5).random)) for p in (0.0, 0.1, 0.5, 1.0)]
    assert lengths == sorted(set(lengths))


def test_a_merge_is_left_out_with_the_probability(bpe):
    """Of the first merge that was learned, which is one of two letters."""
    merges, draw = _merges_of(bpe), Random(2).random
    whole = [bpe.token_to_id("".join(json.loads(bpe.to_str())["model"]["merges"][0]))]
    assert len(merges.drop(whole, 1.0, draw)) == 2
    kept = sum(merges.drop(whole, 0.3, draw) == whole for _ in range(4000))
    assert kept / 4000 == pytest.approx(0.7, abs=0.03)


def test_words_are_unknown_with_the_probability_and_eos_never(bpe):
    batch = TokenBatches(table_of(bpe), 2000, 0).collate(np.arange(40))
    real = batch.source > UNK_ID
    shares = []
    for epoch in range(50):
        noisy = WordDropout(0.2, 7)(batch, epoch)
        changed = noisy.source != batch.source
        assert (noisy.source[changed] == UNK_ID).all() and not changed[~real].any()
        assert noisy.target is batch.target
        shares.append(changed.sum() / real.sum())
    assert np.mean(shares) == pytest.approx(0.2, abs=0.01)
    draws = uniform(3, np.arange(200), 100)
    assert draws.mean() == pytest.approx(0.5, abs=0.01) and 0 <= draws.min() < draws.max() < 1
    assert np.abs(np.corrcoef(draws[:20])[~np.eye(20, dtype=bool)]).max() < 0.4  # of 100 numbers


@pytest.mark.parametrize("kind", ["word_dropout", "bpe_dropout"])
def test_noise_is_a_function_of_seed_epoch_and_record(bpe, kind):
    """A resumed training asks for batch 31 first, and other neighbours change nothing."""
    pair, info = TokenizerPair(bpe, bpe), {"max_source_length": 99, "max_target_length": 99}

    def made(seed: int, budget: int = 150) -> TokenBatches:
        noise = make_noise(make_settings(**{kind: 0.3}), pair, info, seed)
        return TokenBatches(table_of(bpe), budget, 1, noise=noise)

    def epoch(batches: TokenBatches, number: int, side: str) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for place in range(len(batches)):
            found |= rows(batches.batch(number * len(batches) + place), side)
        return found

    first = made(5)
    walked = [first.batch(index) for index in range(32)]
    late = made(5).batch(31)
    assert np.array_equal(walked[31].source, late.source) and walked[31].tokens == late.tokens
    for side in ("source", "target"):
        assert epoch(first, 2, side) == epoch(made(5, budget=400), 2, side)
    assert epoch(first, 2, "source") != epoch(first, 3, "source") != epoch(made(6), 3, "source")
    alike = range(0, 40, len(TEXTS))  # records of one text
    assert len({tuple(epoch(first, 2, "source")[record]) for record in alike}) > 4
    assert all(batch.tokens == (batch.target != 0).sum() for batch in walked)
    assert all((batch.source == EOS_ID).sum() == len(batch.records) for batch in walked)
    plain = TokenBatches(table_of(bpe), 150, 1)
    assert rows(plain.batch(0)) != rows(first.batch(0))
    for one, other in zip(plain.in_length_order(), first.in_length_order(), strict=True):
        assert np.array_equal(one.source, other.source)  # validation has none


def test_a_row_that_would_be_too_long_keeps_its_tokens(bpe):
    batch = TokenBatches(table_of(bpe), 2000, 0).collate(np.arange(5))
    before = rows(batch)
    free, bound = (
        rows(BPEDropout(1.0, 0, (_merges_of(bpe), most), None)(batch, 0)) for most in (999, 45)
    )
    longest = {record for record in free if len(free[record]) > 45}
    assert 0 < len(longest) < len(free)
    assert bound == {record: (before if record in longest else free)[record] for record in free}


def test_bpe_dropout_is_for_the_sides_that_have_bpe(bpe):
    info = {"max_source_length": 9, "max_target_length": 9}
    mixed = make_bpe_dropout(0.1, TokenizerPair(tokenizer_of("word"), bpe), info, 0)
    assert mixed.source is None and mixed.target is not None
    with pytest.raises(ParamsError, match=r"train_scratch.bpe_dropout: there are no BPE tokens"):
        make_bpe_dropout(0.1, TokenizerPair(tokenizer_of("character"), None), info, 0)
