"""Text to token ids and back: the tokenizers of the scratch track.

The `tokenizers` library does the work; this file chooses its parts. All four algorithms share:

- the special tokens pad, bos, eos and unk have the ids 0, 1, 2 and 3;
- encoding appends eos; decoding with `skip_special_tokens=True` gives the canonical text back;
- what was not in the training split is unknown (there is no fallback to bytes);
- no text can produce a special token. "</s>" in a row is four letters, not the end.

| algorithm | a token is | source |
|---|---|---|
| character | one Unicode character, blank included | |
| word | what stands between two blanks | |
| bpe | a frequent piece, made by merging the most frequent neighbours | Sennrich et al. 2016 |
| unigram | a piece of the most probable segmentation | Kudo 2018 |
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from scratchformer import params
from scratchformer.errors import DataError

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)
SPECIAL_TOKENS = ["<pad>", "<s>", "</s>", "<unk>"]


class TokenizerPair(NamedTuple):
    """The tokenizers of a track; a classifier has no target side."""

    source: Tokenizer
    target: Tokenizer | None


def train_tokenizer(texts: Iterable[str], settings: params.Tokenizer) -> Tokenizer:
    """Learn a vocabulary of at most `settings.vocab_size` tokens from `texts`."""
    tokenizer = _untrained(settings.algorithm)
    steps = [normalizers.NFC()] + ([normalizers.Lowercase()] if settings.lowercase else [])
    tokenizer.normalizer = normalizers.Sequence(steps)
    common = {
        "vocab_size": settings.vocab_size,
        "special_tokens": SPECIAL_TOKENS,
        "show_progress": False,
    }
    match settings.algorithm:
        case "character" | "word":
            trainer = trainers.WordLevelTrainer(**common)
        case "bpe":
            trainer = trainers.BpeTrainer(**common)
        case "unigram":
            trainer = trainers.UnigramTrainer(unk_token=SPECIAL_TOKENS[UNK_ID], **common)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {SPECIAL_TOKENS[EOS_ID]}", special_tokens=[(SPECIAL_TOKENS[EOS_ID], EOS_ID)]
    )
    return _text_stays_text(tokenizer)


def load_tokenizers(folder: Path) -> TokenizerPair:
    """The tokenizers in `folder`: source.json and, for sequence to sequence, target.json.

    Raises:
        DataError: source.json is missing.
    """
    source, target = folder / "source.json", folder / "target.json"
    if not source.exists():
        raise DataError(f"{source} not found; make it with: dvc repro tokenize")
    return TokenizerPair(_load(source), _load(target) if target.exists() else None)


def _load(path: Path) -> Tokenizer:
    return _text_stays_text(Tokenizer.from_file(str(path)))


def _text_stays_text(tokenizer: Tokenizer) -> Tokenizer:
    """Read the names of special tokens in a text as letters (the file does not keep this)."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def _untrained(algorithm: str) -> Tokenizer:
    """Model, splitting into units and joining them again."""
    unknown = SPECIAL_TOKENS[UNK_ID]
    match algorithm:
        case "character":
            tokenizer = Tokenizer(models.WordLevel(unk_token=unknown))
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
            tokenizer.decoder = decoders.Fuse()
        case "word":
            tokenizer = Tokenizer(models.WordLevel(unk_token=unknown))
            # A word that is the name of a special token is cut in two.
            name = Regex(r"^<(?=(pad|/?s|unk)>$)")
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(name, "isolated")]
            )
        case _:
            tokenizer = Tokenizer(
                models.BPE(unk_token=unknown) if algorithm == "bpe" else models.Unigram()
            )
            # "▁" marks the blank before a word. Punctuation stands alone, so that "dog" is the
            # same piece before a comma, and "<" is never part of a piece.
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")]
            )
            tokenizer.decoder = decoders.Metaspace()
    return tokenizer
