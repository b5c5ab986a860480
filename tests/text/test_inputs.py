"""Texts become ids in one way, by rules that are checked when they are read."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import write_json
from scratchformer.params import Tokenizer as Settings
from scratchformer.text.inputs import RustSide, load_scratch_inputs, scratch_inputs
from scratchformer.text.rules import InputRules, load_rules
from scratchformer.text.tokenizers import EOS_ID, TokenizerPair, train_tokenizer

NAMES = ["<pad>", "</s>", "<unk>", "[SEP]"]


def words() -> Tokenizer:
    vocabulary = {name: number for number, name in enumerate([*NAMES, "hello", "<", "[", "there"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def pieces() -> Tokenizer:
    """As sentencepiece models are: the names of special tokens are pieces of the best score."""
    known = [(name, 0.0) for name in NAMES]
    parts = [(part, -3.0) for part in ["▁", "▁hello", "▁there", "<", "/", "s", ">", "[", "a"]]
    tokenizer = Tokenizer(models.Unigram([*known, *parts], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def merges() -> Tokenizer:
    letters = sorted(set("hellothere</s>[SEP]padunk"))
    tokenizer = Tokenizer(models.BPE({part: n for n, part in enumerate(NAMES + letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


@pytest.mark.parametrize("make", [words, pieces, merges])
@pytest.mark.parametrize("text", ["hello </s>", "a</s>a", "[SEP] there <pad>", "</s></s>"])
def test_no_typed_name_becomes_a_special_token(make: Any, text: str) -> None:
    tokenizer = make()
    tokenizer.add_special_tokens(NAMES)
    side = RustSide(tokenizer, 50, unknown="<unk>")
    assert not set(side.encode([text]).ids[0]) & {0, 1, 3}


@pytest.mark.parametrize("make", [words, pieces, merges])
def test_texts_without_such_a_name_are_read_as_ever(make: Any) -> None:
    before = make()
    before.add_special_tokens(NAMES)
    expected = before.encode("hello there < [ hello").ids
    assert RustSide(before, 50).encode(["hello there < [ hello"]).ids == [expected]


@pytest.fixture
def letters() -> TokenizerPair:
    settings = Settings(algorithm="character", vocab_size=30, lowercase=False)
    return TokenizerPair(train_tokenizer(["abcdef"], settings), None)


def test_a_pair_ends_each_text_and_the_longer_one_is_cut_first(letters: TokenizerPair) -> None:
    rules = InputRules(max_source_length=6, pairs=True)
    inputs = scratch_inputs(letters, rules, "here")
    read = inputs.encode(["abcdef", "a", "a"], ["a", "bc", "b"])
    tokens = [inputs.source.tokens(ids) for ids in read.ids]
    assert tokens == [
        ["a", "b", "c", "</s>", "a", "</s>"],
        ["a", "</s>", "b", "c", "</s>"],
        ["a", "</s>", "b", "</s>"],
    ]
    assert (read.cut, read.special, read.unknown, read.segments) == (1, 6, 0, None)
    # The same letters, parted elsewhere, are another pair.
    assert inputs.encode(["ab"], ["c"]).ids != inputs.encode(["a"], ["bc"]).ids
    with pytest.raises(DataError, match="reads pairs of texts; it was given single texts"):
        inputs.encode(["a"])
    single = scratch_inputs(letters, InputRules(max_source_length=6), "here")
    with pytest.raises(DataError, match="reads single texts; it was given pairs of texts"):
        single.encode(["a"], ["b"])


def test_the_prefix_is_part_of_the_text_and_of_its_length(letters: TokenizerPair) -> None:
    inputs = scratch_inputs(letters, InputRules(max_source_length=4, prefix="fe"), "here")
    read = inputs.encode(["a", "ab"])
    assert [inputs.source.tokens(ids) for ids in read.ids] == [["f", "e", "a", "</s>"]] * 2
    assert read.cut == 1


def test_tokenizers_are_left_as_they_are(letters: TokenizerPair) -> None:
    scratch_inputs(letters, InputRules(max_source_length=3), "here")
    assert letters.source.truncation is None and len(letters.source.encode("abcdef").ids) == 7


@pytest.mark.parametrize(("pairs", "length", "least"), [(False, 1, 2), (True, 3, 4)])
def test_a_length_without_room_for_text(
    letters: TokenizerPair, pairs: bool, length: int, least: int
) -> None:
    rules = InputRules(max_source_length=length, pairs=pairs)
    with pytest.raises(ParamsError, match=f"here: {length} tokens leave no room.*least {least}$"):
        scratch_inputs(letters, rules, "here")
    enough = rules.model_copy(update={"max_source_length": least})
    read = scratch_inputs(letters, enough, "here").encode(["ab"], ["ab"] if pairs else None)
    assert len(read.ids[0]) == least and read.ids[0][-1] == EOS_ID


def test_rules_come_back_from_their_file(letters: TokenizerPair, tmp_path: Path) -> None:
    rules = InputRules(
        max_source_length=5, max_target_length=7, prefix="say: ", truncation_side="left",
        source_language="en_XX", target_language="de_DE",
    )  # fmt: skip
    rules.save(tmp_path)
    assert load_rules(tmp_path) == rules
    letters.source.save(str(tmp_path / "source.json"))
    assert load_scratch_inputs(tmp_path).rules == rules
    (tmp_path / "inputs.json").unlink()
    assert load_rules(tmp_path) is None
    with pytest.raises(DataError, match=r"inputs\.json not found; make it with: dvc repro"):
        load_scratch_inputs(tmp_path)


HOSTILE: dict[str, Any] = {
    "max_source_length": [0, -5, 10**9, 2.5, "64", True, None, float("1e300")],
    "max_target_length": [0, "7", [7]],
    "prefix": [None, 7, ["a"]],
    "pairs": ["yes", 1, 0],
    "segments": [None, "no"],
    "truncation_side": ["middle", None],
    "target_language": [7],
    "unknown_key": [1],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in HOSTILE.items() for value in values]
)
def test_a_damaged_value_is_one_line(key: str, value: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "inputs.json", {"max_source_length": 5, key: value})
    with pytest.raises(DataError, match=rf"inputs\.json: {key}: ") as raised:
        load_rules(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "[" * 100_000, '{"prefix": "a"}'])
def test_a_damaged_file_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text(content)
    with pytest.raises(DataError, match=r"inputs\.json: ") as raised:
        load_rules(tmp_path)
    assert "\n" not in str(raised.value)
