"""Text to token ids and back: the tokenizers of the scratch track.

The `tokenizers` library does the work; this file chooses its parts. All four algorithms share:

- the special tokens pad, bos, eos and unk have the ids 0, 1, 2 and 3;
- encoding appends eos, to each text of a pair; decoding with `skip_special_tokens=True` gives the
  canonical text back;
- what was not in the training split is unknown (there is no fallback to bytes);
- no text can produce a special token. "</s>" in a row is four letters, not the end.

| algorithm | a token is | source |
|---|---|---|
| character | one Unicode character, blank included | |
| word | what stands between two blanks | |
| bpe | a frequent piece, made by merging the most frequent neighbours | Sennrich et al. 2016 |
| unigram | a piece of the most probable segmentation | Kudo 2018 |
"""

import io
from collections import Counter
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
from scratchformer.base.errors import DataError, ParamsError

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)
SPECIAL_TOKENS = ["<pad>", "<s>", "</s>", "<unk>"]


class TokenizerPair(NamedTuple):
    """The tokenizers of a track; a classifier has no target side."""

    source: Tokenizer
    target: Tokenizer | None


def train_tokenizer(texts: Iterable[str], settings: params.Tokenizer) -> Tokenizer:
    """Learn a vocabulary of at most `settings.vocab_size` tokens from `texts`.

    Equal texts give equal tokenizers, in every process.

    Raises:
        ParamsError: the pieces cannot even hold the characters that occur.
    """
    tokenizer = _untrained(settings)
    size = settings.vocab_size
    match settings.algorithm:
        case "character" | "word":
            words = trainers.WordLevelTrainer(
                vocab_size=size, special_tokens=SPECIAL_TOKENS, show_progress=False
            )
            tokenizer.train_from_iterator(texts, words)
        case "bpe":
            merges = trainers.BpeTrainer(
                vocab_size=size, special_tokens=SPECIAL_TOKENS, show_progress=False
            )
            tokenizer.train_from_iterator(texts, merges)
        case "unigram":
            tokenizer.model = models.Unigram(_unigram_pieces(tokenizer, texts, size), UNK_ID)
            tokenizer.add_special_tokens(SPECIAL_TOKENS)
    _demand_room(size, tokenizer.get_vocab_size())
    end = SPECIAL_TOKENS[EOS_ID]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, EOS_ID)]
    )
    return _text_stays_text(tokenizer)


def load_tokenizers(folder: Path) -> TokenizerPair:
    """The tokenizers in `folder`: source.json and, for sequence to sequence, target.json.

    Raises:
        DataError: source.json is missing, or a file is no tokenizer.
    """
    source, target = folder / "source.json", folder / "target.json"
    if not source.exists():
        raise DataError(f"{source} not found; make it with: dvc repro tokenize")
    return TokenizerPair(_load(source), _load(target) if target.exists() else None)


def _load(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing more special
        raise DataError(f"{path}: not a tokenizer: {error}") from None
    return _text_stays_text(tokenizer)


def _text_stays_text(tokenizer: Tokenizer) -> Tokenizer:
    """Read the names of special tokens in a text as letters (the file does not keep this)."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def _untrained(settings: params.Tokenizer) -> Tokenizer:
    """Everything but the vocabulary: clean the text, cut it into units, join tokens again."""
    unknown = SPECIAL_TOKENS[UNK_ID]
    match settings.algorithm:
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
        case "bpe" | "unigram":
            tokenizer = Tokenizer(models.BPE(unk_token=unknown))
            # "▁" marks the blank before a word. Punctuation stands alone, so that "dog" is the
            # same piece before a comma, and no piece can be the name of a special token.
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation("isolated")]
            )
            tokenizer.decoder = decoders.Metaspace()
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), *([normalizers.Lowercase()] if settings.lowercase else [])]
    )
    return tokenizer


def _unigram_pieces(
    tokenizer: Tokenizer, texts: Iterable[str], size: int
) -> list[tuple[str, float]]:
    """Pieces and their log-probabilities, special tokens first, by the reference implementation.

    The trainer of `tokenizers` adds its sums in the order of a randomly seeded hash map, so two
    runs give two vocabularies; sentencepiece in one thread always gives the same one. It is shown
    every distinct unit once, with its count.
    """
    import sentencepiece

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text.split())
    units: Counter[str] = Counter()
    for word, times in counts.items():
        normal = tokenizer.normalizer.normalize_str(word)
        for unit, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal):
            units[unit] += times
    _demand_room(size, len(SPECIAL_TOKENS) + len(set().union(*units)))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f"{unit}\t{times}" for unit, times in sorted(units.items())),
        input_format="tsv",
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,  # fewer pieces if the texts do not yield more
        character_coverage=1.0,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        split_by_unicode_script=False,
        split_by_number=False,
        pad_id=PAD_ID,
        bos_id=BOS_ID,
        eos_id=EOS_ID,
        unk_id=UNK_ID,
        num_threads=1,
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [
        (trained.id_to_piece(index), trained.get_score(index))
        for index in range(trained.get_piece_size())
    ]


def _demand_room(size: int, needed: int) -> None:
    """Raises ParamsError if the special tokens and single characters alone fill the vocabulary."""
    if needed > size:
        raise ParamsError(
            f"tokenize: vocab_size {size} is too small; special tokens and single characters alone "
            f"are {needed}: raise it, or choose algorithm: character, where rare ones are unknown"
        )
