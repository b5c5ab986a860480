"""The data of the benchmarks beside other libraries: Multi30k en → de in 8,000 joint BPE pieces."""

import gzip
from pathlib import Path

from scratchformer.params import Tokenizer
from scratchformer.text.tokenizers import TokenizerPair, train_tokenizer


def read(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.strip() for line in lines]


def joint_pieces(folder: Path) -> TokenizerPair:
    """One tokenizer for both sides, trained on train.en.gz and train.de.gz of `folder`."""
    settings = Tokenizer(algorithm="bpe", vocab_size=8000, lowercase=False)
    both = [line for side in ("en", "de") for line in read(folder / f"train.{side}.gz")]
    tokenizer = train_tokenizer(both, settings)
    return TokenizerPair(tokenizer, tokenizer)


def training_pairs(folder: Path, pair: TokenizerPair) -> list[tuple[list[int], list[int]]]:
    """(source ids, target ids) of each training row, EOS included."""
    sides = ((pair.source, "en"), (pair.target or pair.source, "de"))
    ids = [
        [encoding.ids for encoding in tokenizer.encode_batch(read(folder / f"train.{side}.gz"))]
        for tokenizer, side in sides
    ]
    return list(zip(*ids, strict=True))
