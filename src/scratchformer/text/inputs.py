"""Texts to model inputs: the one way, for both tracks.

tokenize, zero-shot, the probe, attribution, attention pictures, predict and the served model all
call `ModelInputs`, with the rules that lie beside the weights. So they cannot differ.

No text can produce a special token: "[SEP]" or "</s>" that a person typed are letters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from tokenizers import Regex, Tokenizer, pre_tokenizers

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.text.rules import RULES_FILE, InputRules, load_rules
from scratchformer.text.tokenizers import (
    SPECIAL_TOKENS,
    UNK_ID,
    TokenizerPair,
    load_tokenizers,
)


class Encoded(NamedTuple):
    """Some texts as ids, special tokens included, without padding."""

    ids: list[list[int]]
    segments: list[list[int]] | None  # 0 or 1 for each id; None where the model has no token types
    cut: int  # texts that were longer than allowed
    unknown: int  # tokens that the vocabulary lacks
    special: int  # tokens that were added around the texts

    @property
    def tokens(self) -> int:
        """Tokens of all texts, special tokens included."""
        return sum(map(len, self.ids))


class Side(Protocol):
    """A tokenizer with its length: the input side or the answer side of a model."""

    vocab_size: int

    def encode(self, texts: Sequence[str], second_texts: Sequence[str] | None = None) -> Encoded:
        """Ids of the texts, or of pairs of texts, as the model reads them."""

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The names of these ids."""


class RustSide:
    """A tokenizer of the library `tokenizers`.

    Args:
        tokenizer: is taken over: its padding, truncation and splitting are set here.
        max_length: tokens of a text or pair, special tokens included.
        pairs: whether pairs of texts will come.
        segments: whether `Encoded.segments` is wanted.
        truncation_side: where long texts lose tokens. Of a pair the longer text is cut first.
        unknown: name of the unknown token, to count it.

    Raises:
        ValueError: `max_length` leaves no room for text beside the special tokens.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        *,
        pairs: bool = False,
        segments: bool = False,
        truncation_side: Literal["right", "left"] = "right",
        unknown: str | None = None,
    ) -> None:
        self._special = {pair: tokenizer.num_special_tokens_to_add(pair) for pair in (False, True)}
        demand_room(max_length, self._special[pairs], pairs)
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length, direction=truncation_side)
        tokenizer.encode_special_tokens = True
        self._unknown = None if unknown is None else tokenizer.token_to_id(unknown)
        _split_special_names(tokenizer, self._unknown)
        self._tokenizer, self._segments = tokenizer, segments
        self.vocab_size = tokenizer.get_vocab_size()

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process: the tokenizer as JSON."""
        return self.__dict__ | {"_tokenizer": self._tokenizer.to_str()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._tokenizer = Tokenizer.from_str(state["_tokenizer"])
        self._tokenizer.encode_special_tokens = True  # JSON does not keep this

    def encode(self, texts: Sequence[str], second_texts: Sequence[str] | None = None) -> Encoded:
        pairs = second_texts is not None
        asked = list(texts) if second_texts is None else list(zip(texts, second_texts, strict=True))
        encodings = self._tokenizer.encode_batch_fast(asked)
        ids = [encoding.ids for encoding in encodings]
        return Encoded(
            ids,
            [encoding.type_ids for encoding in encodings] if self._segments else None,
            cut=sum(bool(encoding.overflowing) for encoding in encodings),
            unknown=count(ids, self._unknown),
            special=len(ids) * self._special[pairs],
        )

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [str(self._tokenizer.id_to_token(number)) for number in ids]


class ModelInputs:
    """Texts to the ids of one model.

    Args:
        rules: `inputs.json` of the model.
        source: the side of the inputs, made with these rules.
        target: the side of the answers; None where they are labels.
    """

    def __init__(self, rules: InputRules, source: Side, target: Side | None = None) -> None:
        self.rules, self.source, self.target = rules, source, target

    def encode(self, texts: Sequence[str], second_texts: Sequence[str] | None = None) -> Encoded:
        """The inputs of the model, of single texts or of pairs; texts as the contract makes them.

        Raises:
            DataError: the model reads pairs and got single texts, or the other way round.
        """
        pairs = second_texts is not None
        if self.rules.pairs is not None and self.rules.pairs != pairs:
            expected = ("single texts", "pairs of texts")[self.rules.pairs]
            found = ("single texts", "pairs of texts")[pairs]
            raise DataError(f"this model reads {expected}; it was given {found}")
        prefix = self.rules.prefix
        prefixed = [prefix + text for text in texts] if prefix else texts
        return self.source.encode(prefixed, second_texts)

    def encode_targets(self, texts: Sequence[str]) -> Encoded:
        """Answers as the decoder learns to predict them, EOS included."""
        if self.target is None:
            raise DataError("this model answers with labels; it has no tokenizer for answers")
        return self.target.encode(texts)


def scratch_inputs(tokenizers: TokenizerPair, rules: InputRules, where: str) -> ModelInputs:
    """The inputs of a model of the scratch track.

    Args:
        tokenizers: are left as they are.
        where: of the rules, for the message.

    Raises:
        ParamsError: a length leaves no room for text.
    """

    def side(tokenizer: Tokenizer, length: int, pairs: bool) -> RustSide:
        try:
            copy = Tokenizer.from_str(tokenizer.to_str())
            return RustSide(copy, length, pairs=pairs, unknown=SPECIAL_TOKENS[UNK_ID])
        except ValueError as error:
            raise ParamsError(f"{where}: {error}") from None

    target = tokenizers.target
    return ModelInputs(
        rules,
        side(tokenizers.source, rules.max_source_length, bool(rules.pairs)),
        None if target is None else side(target, rules.max_target_length or 1, False),
    )


def load_scratch_inputs(folder: Path) -> ModelInputs:
    """The same from a folder with tokenizers and inputs.json.

    Raises:
        DataError: a file is missing or damaged.
    """
    rules = load_rules(folder)
    if rules is None:
        raise DataError(f"{folder / RULES_FILE} not found; make it with: dvc repro tokenize")
    return scratch_inputs(load_tokenizers(folder), rules, str(folder / RULES_FILE))


def demand_room(max_length: int, special: int, pairs: bool) -> None:
    """Raises ValueError if nothing but special tokens fits."""
    least = special + (2 if pairs else 1)
    if max_length < least:
        raise ValueError(
            f"{max_length} tokens leave no room for text beside {special} special tokens; set at "
            f"least {least}"
        )


def count(ids: Sequence[Sequence[int]], wanted: int | None) -> int:
    """How often the id `wanted` occurs."""
    return 0 if wanted is None else sum(row.count(wanted) for row in ids)


def _split_special_names(tokenizer: Tokenizer, unknown: int | None) -> None:
    """Split a typed name of a special token behind its first character, where need be.

    `encode_special_tokens` keeps the names of special tokens from being looked up before the model
    of the tokenizer runs. But the vocabulary of a word or unigram model holds these names as well,
    and there the model itself would find "</s>". Texts without such a name are not touched.
    """
    special = {
        token.content: number
        for number, token in tokenizer.get_added_tokens_decoder().items()
        if token.special and number != unknown and len(token.content) > 1
    }
    found = [
        name
        for name, number in special.items()
        if number in tokenizer.encode(f"{name} a{name}a", add_special_tokens=False).ids
    ]
    if not found:
        return
    names = "|".join(f"{_escaped(name[0])}(?={_escaped(name[1:])})" for name in sorted(found))
    split = pre_tokenizers.Split(Regex(names), "isolated")
    before = tokenizer.pre_tokenizer
    tokenizer.pre_tokenizer = split if before is None else pre_tokenizers.Sequence([before, split])


def _escaped(text: str) -> str:
    """`text` for the regular expressions of Oniguruma, every character by its number."""
    return "".join(f"\\x{{{ord(character):x}}}" for character in text)
