"""Tokenizers: back and forth, the same every time, and never more than the training split knows."""

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from scratchformer import params
from scratchformer.base.errors import DataError, ParamsError
from scratchformer.data.preparation.contract import canonical
from scratchformer.data.sources.generated import sentences
from scratchformer.text.inputs import scratch_inputs
from scratchformer.text.rules import InputRules
from scratchformer.text.tokenizers import (
    BOS_ID,
    EOS_ID,
    PAD_ID,
    SPECIAL_TOKENS,
    UNK_ID,
    TokenizerPair,
    load_tokenizers,
    train_tokenizer,
)

ALGORITHMS = ("character", "word", "bpe", "unigram")
TEXTS = [*sentences()[:300], "Straße, naïve: „Zitat“", "<s> </s> <pad> <unk> are words", "x</s>y"]
ALPHABET = sorted(set("".join(TEXTS)))


def settings_of(algorithm: str, size: int = 600, lowercase: bool = False) -> params.Tokenizer:
    return params.Tokenizer(algorithm=algorithm, vocab_size=size, lowercase=lowercase)


@pytest.fixture(scope="module")
def trained() -> dict[str, Tokenizer]:
    return {name: _once_trained(name) for name in ALGORITHMS}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_special_tokens_have_their_places(name: str, trained: dict[str, Tokenizer]) -> None:
    ids = [trained[name].token_to_id(token) for token in SPECIAL_TOKENS]
    assert ids == [PAD_ID, BOS_ID, EOS_ID, UNK_ID] == [0, 1, 2, 3]
    assert trained[name].encode("The").ids[-1] == EOS_ID


@pytest.mark.parametrize("name", ALGORITHMS)
def test_training_texts_come_back(name: str, trained: dict[str, Tokenizer]) -> None:
    for text in TEXTS[:-2]:
        assert trained[name].decode(trained[name].encode(text).ids) == canonical(text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=ALPHABET, max_size=40).map(canonical).filter(bool))
def test_any_text_of_known_characters_comes_back(text: str) -> None:
    for name in ("character", "bpe", "unigram"):
        tokenizer = _once_trained(name)
        ids = tokenizer.encode(text).ids
        assert UNK_ID not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


@functools.cache
def _once_trained(name: str) -> Tokenizer:
    return train_tokenizer(TEXTS, settings_of(name, 2500))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_text_can_make_a_special_token(
    name: str, trained: dict[str, Tokenizer], tmp_path: Path
) -> None:
    trained[name].save(str(tmp_path / "source.json"))
    for tokenizer in (trained[name], load_tokenizers(tmp_path).source):
        for text in ("<s> </s> <pad> <unk>", "x</s>y", "the</s> <s>the", "</s>", " </s> "):
            ids = tokenizer.encode(text).ids
            assert not {PAD_ID, BOS_ID, EOS_ID} & set(ids[:-1]), tokenizer.encode(text).tokens


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_only_the_test_split_has_is_unknown(
    name: str, trained: dict[str, Tokenizer]
) -> None:
    assert "ж" not in ALPHABET
    ids = trained[name].encode("The ж").ids
    assert UNK_ID in ids and ids[0] != UNK_ID


def test_what_a_token_is() -> None:
    def tokens(name: str) -> list[str]:
        tokenizer = train_tokenizer(["ab cd, ab", "ab."] * 3, settings_of(name, 20))
        return tokenizer.encode("ab cd").tokens

    assert tokens("character") == ["a", "b", " ", "c", "d", "</s>"]
    assert tokens("word") == ["ab", "<unk>", "</s>"]  # the word was "cd,"
    assert tokens("bpe") == ["▁ab", "▁cd", "</s>"]
    assert _once_trained("unigram").encode("the").tokens == ["▁the", "</s>"]


def test_lower_case_is_a_choice() -> None:
    for name in ALGORITHMS:
        lower = train_tokenizer(["The Cat SAT"], settings_of(name, 40, lowercase=True))
        assert lower.decode(lower.encode("THE cat").ids) == "the cat"
        cased = train_tokenizer(["The Cat SAT"], settings_of(name, 40))
        assert cased.decode(cased.encode("The Cat").ids) == "The Cat"


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_a_vocabulary_smaller_than_the_alphabet_is_refused(name: str) -> None:
    with pytest.raises(ParamsError, match="vocab_size 30 is too small"):
        train_tokenizer(TEXTS, settings_of(name, 30))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_vocabulary_is_never_larger_than_asked_for(
    name: str, trained: dict[str, Tokenizer]
) -> None:
    assert trained[name].get_vocab_size() <= 2500
    assert train_tokenizer(TEXTS, settings_of(name, 200)).get_vocab_size() <= 200
    assert train_tokenizer(["a"], settings_of(name, 8000)).get_vocab_size() < 10


_TRAIN_ALL = """
import sys
from scratchformer import params
from scratchformer.data.sources.generated import sentences
from scratchformer.text.tokenizers import train_tokenizer
for name in ("character", "word", "bpe", "unigram"):
    settings = params.Tokenizer(algorithm=name, vocab_size=800, lowercase=False)
    sys.stdout.write(train_tokenizer(sentences(), settings).to_str())
"""


def test_training_gives_the_same_bytes_in_every_process() -> None:
    """Whatever the seed of Python's hashes and the number of threads of the library."""

    def fingerprint(hash_seed: str, threads: str) -> str:
        environment = {"PYTHONHASHSEED": hash_seed, "RAYON_NUM_THREADS": threads}
        output = subprocess.run(
            [sys.executable, "-c", _TRAIN_ALL], capture_output=True, check=True,
            env=os.environ | environment,
        ).stdout
        assert output.count(b'"added_tokens"') == 4
        return hashlib.sha256(output).hexdigest()

    assert len({fingerprint("1", "1"), fingerprint("2", "2"), fingerprint("3", "2")}) == 1


def test_texts_are_cut_to_the_length_and_counted(trained: dict[str, Tokenizer]) -> None:
    tokenizer = Tokenizer.from_str(trained["character"].to_str())
    rules = InputRules(max_source_length=5)
    inputs = scratch_inputs(TokenizerPair(tokenizer, None), rules, "here")
    encoded = inputs.encode(["abcd", "abcde", "abcdef ж", "ж"])
    assert [len(ids) for ids in encoded.ids] == [5, 5, 5, 2]
    assert all(ids[-1] == EOS_ID for ids in encoded.ids)
    assert encoded.ids[0] == encoded.ids[1] == encoded.ids[2]
    assert (encoded.cut, encoded.unknown) == (2, 1)


def test_missing_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro tokenize"):
        load_tokenizers(tmp_path)
