"""What a pretrained model reads: its tokenizer behind `text.inputs`, and rules that fit the model.

`new_inputs` makes the rules for a fine-tuning, and refuses what would fail in the training or stay
unseen. `load_inputs` reads them back from a folder; a model of another origin has none, and gets
rules from its config and tokenizer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.params import Pretrained
from scratchformer.pretrained.hub.languages import name_languages
from scratchformer.pretrained.hub.locating import check_folder, locate
from scratchformer.pretrained.hub.reading import load_config, load_tokenizer_folder
from scratchformer.text.inputs import Encoded, ModelInputs, RustSide, Side, count, demand_room
from scratchformer.text.rules import MAX_TOKENS, RULES_FILE, InputRules, load_rules

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_LENGTH = 512
"""Tokens read by a model that sets no limit and brings no rules."""

# These count positions from the padding id + 1, so that as many of `max_position_embeddings` are
# never used: a RoBERTa with 514 reads 512 tokens (create_position_ids_from_input_ids in
# transformers).
_COUNTED_FROM_PADDING = {
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "markuplm", "mpnet",
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip


class PythonSide:
    """A tokenizer that transformers runs in Python (Marian, M2M100), one text after the other.

    Args:
        tokenizer: cuts long texts on its own `truncation_side`.
        max_length: tokens of a text or pair, special tokens included.
        pairs: whether pairs of texts will come.
        target: as texts of the decoder's side.
        segments: whether `Encoded.segments` is wanted.

    Raises:
        ValueError: `max_length` leaves no room for text beside the special tokens.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        max_length: int,
        *,
        pairs: bool = False,
        target: bool = False,
        segments: bool = False,
    ) -> None:
        self._special = {p: tokenizer.num_special_tokens_to_add(p) for p in (False, True)}
        demand_room(max_length, self._special[pairs], pairs)
        self._tokenizer, self._max_length = tokenizer, max_length
        self._target, self._segments = target, segments
        self.vocab_size = len(tokenizer)

    def encode(self, texts: Sequence[str], second_texts: Sequence[str] | None = None) -> Encoded:
        seconds = [None] * len(texts) if second_texts is None else second_texts
        rows = [self._row(*pair) for pair in zip(texts, seconds, strict=True)]
        ids: list[list[int]] = [row["input_ids"] for row in rows]
        return Encoded(
            ids,
            [row["token_type_ids"] for row in rows] if self._segments else None,
            cut=sum(row["cut"] for row in rows),
            unknown=count(ids, self._tokenizer.unk_token_id),
            special=len(ids) * self._special[second_texts is not None],
        )

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [str(token) for token in self._tokenizer.convert_ids_to_tokens(list(ids))]

    def _row(self, text: str, second: str | None) -> dict[str, Any]:
        named = {"text_target": text} if self._target else {"text": text, "text_pair": second}
        options = {
            "split_special_tokens": True, "return_attention_mask": False,
            "return_token_type_ids": self._segments, "verbose": False,
        }  # fmt: skip
        whole = self._tokenizer(**named, **options)
        cut = len(whole["input_ids"]) > self._max_length
        if cut:
            whole = self._tokenizer(
                **named, **options, truncation=True, max_length=self._max_length
            )
        return {**whole, "cut": cut}


def new_inputs(
    pretrained: Pretrained, max_length: int, *, pairs: bool, targets: bool
) -> tuple["PreTrainedTokenizerBase", ModelInputs]:
    """The tokenizer of a pretrained model, and its inputs for a fine-tuning.

    Args:
        max_length: tokens of an input, and of an answer that is text.
        pairs: whether an input is two texts.
        targets: whether answers are text.

    Raises:
        ParamsError: the model cannot read texts of this length, pairs, or all tokens of its
            tokenizer; or it marks texts with languages, and none are named.
    """
    folder = locate(pretrained)
    config, tokenizer = load_config(folder), load_tokenizer_folder(folder)
    _demand_embeddings(folder, config, tokenizer)
    positions = positions_of(config)
    if positions is not None and max_length > positions:
        raise ParamsError(
            f"tokenize.finetune.max_length: {max_length} is above the {positions} tokens that "
            f"{folder} can read; set {positions} or less"
        )
    source, target = name_languages(tokenizer, pretrained, targets)
    rules = InputRules(
        max_source_length=max_length,
        max_target_length=max_length if targets else None,
        prefix=pretrained.prefix,
        pairs=pairs,
        segments=pairs and getattr(config, "type_vocab_size", 0) > 1,
        truncation_side=tokenizer.truncation_side,
        source_language=source,
        target_language=target,
    )
    if pairs and not _separates(tokenizer):
        raise ParamsError(
            f"pretrained.name: {pretrained.name} has no token that separates two texts; for pairs "
            "(source.columns.text_pair) choose a model of the BERT family"
        )
    return tokenizer, inputs_of(tokenizer, rules, "tokenize.finetune.max_length")


def load_inputs(folder: Path) -> ModelInputs:
    """The inputs of the model in `folder`, by its inputs.json if it has one.

    Raises:
        DataError: a file is damaged, or the rules do not fit the model.
        ParamsError: transformers cannot load the tokenizer.
    """
    check_folder(folder)
    config, tokenizer = load_config(folder), load_tokenizer_folder(folder)
    rules, positions = load_rules(folder), positions_of(config)
    if rules is None:
        rules = InputRules(
            max_source_length=foreign_length(tokenizer.model_max_length, positions),
            max_target_length=None,  # its own generation_config.json says when to stop
            prefix=getattr(config, "prefix", None) or "",
            pairs=None,
            segments=getattr(config, "type_vocab_size", 0) > 1,
            truncation_side=tokenizer.truncation_side,
        )
    demand_positions(folder, rules, positions)
    tokenizer.truncation_side = rules.truncation_side
    if rules.source_language is not None:
        tokenizer.src_lang = rules.source_language
    if rules.target_language is not None:
        tokenizer.tgt_lang = rules.target_language
    return inputs_of(tokenizer, rules, str(folder / RULES_FILE))


def inputs_of(tokenizer: "PreTrainedTokenizerBase", rules: InputRules, where: str) -> ModelInputs:
    """The inputs by `rules`; `tokenizer` already knows its languages and is left as it is.

    Raises:
        ParamsError: a length leaves no room for text; `where` names its place.
    """
    pairs = bool(rules.pairs)
    try:
        source = _side(tokenizer, rules, rules.max_source_length, pairs=pairs, target=False)
        target = None
        if rules.max_target_length is not None:
            target = _side(tokenizer, rules, rules.max_target_length, pairs=False, target=True)
    except ValueError as error:
        raise ParamsError(f"{where}: {error}") from None
    return ModelInputs(rules, source, target)


def tell_target_language(model: "PreTrainedModel", folder: Path) -> None:
    """Let `model` start its answers with the mark of their language, as in training.

    Args:
        folder: with the tokenizer and inputs.json.

    mBART-50, NLLB and M2M100 write the code first; mBART starts from it instead of BOS.
    """
    rules = load_rules(folder)
    code = rules.target_language if rules else None
    if rules is None or code is None:
        return
    tokenizer = load_tokenizer_folder(folder)
    tokenizer.src_lang, tokenizer.tgt_lang = rules.source_language, code
    side = inputs_of(tokenizer, rules, str(folder)).target
    assert side is not None, "a target language without targets"
    (ids,) = side.encode(["a"]).ids
    first, last = side.tokens([ids[0], ids[-1]])
    if code in first:
        model.generation_config.forced_bos_token_id = ids[0]
    elif code in last:
        model.generation_config.decoder_start_token_id = ids[-1]


def positions_of(config: "PreTrainedConfig") -> int | None:
    """Tokens that the model can read; None where positions are relative and have no end."""
    if not getattr(config, "position_biased_input", True):
        return None  # DeBERTa without absolute positions
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return None
    if config.model_type in _COUNTED_FROM_PADDING:
        positions -= (config.pad_token_id or 0) + 1
    return positions


def foreign_length(tokenizer_length: float, positions: int | None) -> int:
    """Tokens read by a model without rules: what its tokenizer says, within its positions.

    transformers writes 1e30 where a tokenizer has no limit.
    """
    known = [length for length in (tokenizer_length, positions) if length and length <= MAX_TOKENS]
    return int(min(known, default=DEFAULT_LENGTH))


def demand_positions(folder: Path, rules: InputRules, positions: int | None) -> None:
    """Raises DataError if the rules let more tokens in than the model has positions for."""
    longest = max(rules.max_source_length, rules.max_target_length or 0)
    if positions is not None and longest > positions:
        raise DataError(
            f"{folder / RULES_FILE}: texts of {longest} tokens, but the model reads at most "
            f"{positions}"
        )


def _side(
    tokenizer: "PreTrainedTokenizerBase",
    rules: InputRules,
    length: int,
    *,
    pairs: bool,
    target: bool,
) -> Side:
    segments = rules.segments and not target
    if not tokenizer.is_fast:
        return PythonSide(tokenizer, length, pairs=pairs, target=target, segments=segments)
    # Models with languages add other special tokens to answers than to inputs.
    switch = "_switch_to_target_mode" if target else "_switch_to_input_mode"
    getattr(tokenizer, switch, lambda: None)()
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    getattr(tokenizer, "_switch_to_input_mode", lambda: None)()
    return RustSide(
        copy, length, pairs=pairs, segments=segments, truncation_side=rules.truncation_side,
        unknown=tokenizer.unk_token,
    )  # fmt: skip


def _demand_embeddings(
    folder: Path, config: "PreTrainedConfig", tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Raises ParamsError if a token of the tokenizer has no vector in the model."""
    vectors = getattr(config, "vocab_size", None)
    if isinstance(vectors, int) and len(tokenizer) > vectors:
        raise ParamsError(
            f"pretrained.name: {folder}: its tokenizer has {len(tokenizer):,} tokens, but the "
            f"model has embeddings for {vectors:,}; call "
            f"model.resize_token_embeddings({len(tokenizer)}) and save the model again"
        )


def _separates(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether a special token stands between the two texts of a pair."""
    first, second = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a b", "c d")
    )
    pair: list[int] = tokenizer("a b", "c d")["input_ids"]
    return not any(
        pair[place : place + len(first + second)] == first + second for place in range(len(pair))
    )
