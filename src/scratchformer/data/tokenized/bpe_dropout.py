"""BPE-dropout (Provilkov et al. 2020, https://arxiv.org/abs/1910.13267, algorithm 1).

BPE joins the letters of a word by the merges that it learned, the most frequent first. Here, before
every merge, each one that could be made is left out with probability p. The same word is so written
in several ways, and the model learns what its pieces are made of. p = 0 gives the usual tokens,
p = 1 letters; the paper uses 0.1.

`tokenizers` has it too, but draws from a generator of its own that nobody can seed. The tokens of a
row are taken apart into letters here; its text is not needed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from scratchformer.base.errors import ParamsError
from scratchformer.data.tokenized.batches import Batch
from scratchformer.data.tokenized.columns import Ids
from scratchformer.runtime.randomness import derive_seed
from scratchformer.text.tokenizers import PAD_ID, UNK_ID, TokenizerPair

WORD_BEGINS = "▁"


class Merges:
    """The merges of a trained BPE tokenizer, by ids.

    No merge reaches over the beginning of a word, a punctuation mark or a special token, because
    none was learned there (see `train_tokenizer`).

    Args:
        model: what tokenizer.json has under `model`.
    """

    def __init__(self, model: dict[str, Any]) -> None:
        ids: dict[str, int] = model["vocab"]
        self._merged = {
            (ids[left], ids[right]): (rank, ids[left + right])
            for rank, (left, right) in enumerate(model["merges"])
        }
        own = {number: piece for piece, number in ids.items() if number > UNK_ID}
        self._letters = {number: [ids[letter] for letter in own[number]] for number in own}
        self._begins = {number for number in own if own[number].startswith(WORD_BEGINS)}

    def drop(self, tokens: list[int], p: float, draw: Callable[[], float]) -> list[int]:
        """The same text in other tokens; `draw` gives numbers from 0 to 1."""
        words: list[list[int]] = [[]]
        for token in tokens:
            if token in self._begins or token not in self._letters:
                words.append([])
            words[-1] += self._letters.get(token, [token])
        return [token for word in words for token in self._join(word, p, draw)]

    def _join(self, tokens: list[int], p: float, draw: Callable[[], float]) -> list[int]:
        """Merge neighbours, the lowest rank and then the leftmost first, until none is left."""
        while True:
            best, where = (len(self._merged), 0), 0
            for place, pair in enumerate(pairwise(tokens)):
                found = self._merged.get(pair)
                if found and draw() >= p and found < best:
                    best, where = found, place
            if best[0] == len(self._merged):
                return tokens
            tokens = [*tokens[:where], best[1], *tokens[where + 2 :]]


@dataclass(frozen=True)
class BPEDropout:
    """Writes the rows of a batch anew. A row that would be longer than `most` keeps its tokens.

    Rows grow (by a quarter or so at 0.1), and a batch may then be larger than `batch_tokens`.

    Attributes:
        source, target: (merges, most tokens of a row); None for a side whose tokens are no BPE.
    """

    p: float
    seed: int
    source: tuple[Merges, int] | None
    target: tuple[Merges, int] | None

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        draws = [
            Random(derive_seed(self.seed, "bpe_dropout", epoch, record)).random
            for record in batch.records.tolist()
        ]
        if self.source is not None:
            batch = replace(batch, source=self._side(batch.source, self.source, draws))
        if self.target is not None and batch.target is not None:
            target = self._side(batch.target, self.target, draws)
            tokens = int(np.count_nonzero(target != PAD_ID))
            batch = replace(batch, target=target, tokens=tokens)
        return batch

    def _side(self, ids: Ids, side: tuple[Merges, int], draws: list[Callable[[], float]]) -> Ids:
        merges, most = side
        rows = []
        for row, draw in zip(ids.tolist(), draws, strict=True):
            before = [token for token in row if token != PAD_ID]
            after = merges.drop(before, self.p, draw)
            rows.append(after if len(after) <= most else before)
        block = np.full((len(rows), max(map(len, rows))), PAD_ID, np.int64)
        for place, row in enumerate(rows):
            block[place, : len(row)] = row
        return block


def make_bpe_dropout(
    p: float, tokenizers: TokenizerPair, info: dict[str, Any], seed: int
) -> BPEDropout:
    """For the sides whose tokenizer is BPE.

    Raises:
        ParamsError: neither is.
    """
    sides = {
        side: (merges, info[f"max_{side}_length"])
        for side, tokenizer in tokenizers._asdict().items()
        if tokenizer is not None and (merges := _merges_of(tokenizer)) is not None
    }
    if not sides:
        raise ParamsError(
            "train_scratch.bpe_dropout: there are no BPE tokens to split; set it to 0.0, or "
            "tokenize.scratch.source.algorithm (or that of target) to bpe"
        )
    return BPEDropout(p, seed, sides.get("source"), sides.get("target"))


def _merges_of(tokenizer: Tokenizer) -> Merges | None:
    model = json.loads(tokenizer.to_str())["model"]
    return Merges(model) if model["type"] == "BPE" else None
