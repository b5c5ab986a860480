"""predict and the served model read a text as the training read it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tests.prediction.test_prediction import WORDS, finetuned, save_scratch

from scratchformer.base.errors import DataError, ScratchformerError
from scratchformer.prediction import load_predictor, predict_file
from scratchformer.prediction.served import ServedModel
from scratchformer.text.rules import InputRules
from scratchformer.text.tokenizers import load_tokenizers
from scratchformer.transformer import Transformer, greedy, load_model

__all__ = ["finetuned"]


@pytest.fixture
def tuned(finetuned: Path, tmp_path: Path) -> Path:
    """A fine-tuned BERT of 12 positions that was trained on 5 tokens, [CLS] and [SEP] included."""
    folder = Path(shutil.copytree(finetuned, tmp_path / "model"))
    InputRules(max_source_length=5).save(folder)
    return folder


def by_transformers(folder: Path) -> None:
    (folder / "training.json").unlink()  # then transformers runs the model, not our own encoder


def without_limit(folder: Path) -> None:
    by_transformers(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings.pop("model_max_length")
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize("change", [lambda folder: None, by_transformers, without_limit])
def test_a_fine_tuned_model_is_cut_where_training_cut(
    change: Callable[[Path], None], tuned: Path
) -> None:
    change(tuned)
    predictor = load_predictor(tuned)
    served = ServedModel(predictor)
    # Three letters fit beside [CLS] and [SEP]; what stands behind them was never read.
    head, tail = "a b b", " d c e d c e d c e d"
    short, long = (predictor([text], 3, 1)[0] for text in (head, head + tail))
    assert short == long
    assert predictor(["d c e"], 3, 1)[0] != short
    table = served.predict(pd.DataFrame({"text": [head, head + tail]}))
    assert table["probability"][0] == table["probability"][1] == round(short[0].probability, 6)
    # The length is the saved model's: with another one the same weights read on.
    InputRules(max_source_length=12).save(tuned)
    again = load_predictor(tuned)
    assert again([head + tail], 3, 1) != again([head], 3, 1)


@pytest.mark.parametrize("beam", [1, 3])
def test_from_scratch_each_side_has_its_own_length(beam: int, tmp_path: Path) -> None:
    folder = save_scratch(tmp_path / "model")  # 12 positions
    InputRules(max_source_length=4, max_target_length=7).save(folder)
    model, pair = load_model(folder), load_tokenizers(folder)
    assert isinstance(model, Transformer) and pair.target is not None
    predictor = load_predictor(folder)
    for word in WORDS:
        ids = pair.source.encode(word).ids
        ids = ids if len(ids) <= 4 else [*ids[:3], 2]
        (answer,) = predictor([word], 1, beam)[0]
        if beam == 1:
            expected = greedy(predictor.model, torch.tensor([ids]), 7)  # type: ignore[attr-defined]
            assert answer.text == pair.target.decode(expected.ids[0].tolist())
        assert len(pair.target.encode(answer.text).ids) <= 8  # 7 and EOS
    assert predictor(["abbacab"], 1, beam) == predictor(["abbdada"], 1, beam)  # "abb" is read


@pytest.mark.parametrize("change", [lambda folder: None, by_transformers])
def test_typed_marks_are_text(change: Callable[[Path], None], tuned: Path) -> None:
    InputRules(max_source_length=12).save(tuned)
    change(tuned)
    ids = load_predictor(tuned).inputs.encode(["[SEP] a [CLS]"]).ids[0]
    assert (ids[0], ids[-1]) == (2, 3) and ids.count(2) == ids.count(3) == 1


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = save_scratch(tmp_path / "pairs", num_labels=3)
    InputRules(max_source_length=12, pairs=True).save(folder)
    return folder


def test_the_second_text_has_its_own_column(pairs: Path, tmp_path: Path) -> None:
    """A tab or blanks inside a text do not part the pair."""
    predictor = load_predictor(pairs)
    rows = [("ab\tba", "cab"), ("ab ba", "cab"), ("ab", "ba cab")]
    first, same, other = predictor([a for a, _ in rows], 3, second_texts=[b for _, b in rows])
    assert first == same != other
    typed = predictor(["ab\tba cab"], 3)  # the tab parts
    assert typed == predictor(["ab"], 3, second_texts=["ba cab"])
    table = pd.DataFrame(rows, columns=["text", "text_pair"])
    served = ServedModel(predictor).predict(table)
    assert served["probability"].tolist() == [
        round(answers[0].probability, 6) for answers in (first, same, other)
    ]
    table.to_json(tmp_path / "in.jsonl", orient="records", lines=True)
    predict_file(
        pairs, [], tmp_path / "in.jsonl", "text", tmp_path / "out.jsonl", 1, 1, 8, "text_pair"
    )
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["probability"] for row in written] == served["probability"].tolist()


def test_pairs_and_single_texts_are_not_taken_for_each_other(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="put a tab between the two"):
        load_predictor(pairs)(["ab"], 1, 1)
    single = load_predictor(save_scratch(tmp_path / "single", num_labels=3))
    with pytest.raises(DataError, match="reads single texts; it was given pairs"):
        single(["ab"], second_texts=["ba"])


@pytest.mark.parametrize(
    "rules",
    [
        {"max_source_length": 13, "max_target_length": 12},
        {"max_source_length": 12, "max_target_length": 10**6},
        {"max_source_length": 1, "max_target_length": 12},
        {"max_source_length": 12},
        {"max_source_length": -1},
        {},
    ],
)
def test_rules_that_do_not_fit_the_model(rules: dict[str, Any], tmp_path: Path) -> None:
    folder = save_scratch(tmp_path / "model")
    (folder / "inputs.json").write_text(json.dumps(rules))
    with pytest.raises(ScratchformerError, match=r"inputs\.json: ") as raised:
        load_predictor(folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("change", [lambda folder: None, by_transformers])
@pytest.mark.parametrize("length", [2, 13, 10**6])
def test_rules_that_do_not_fit_a_fine_tuned_model(
    length: int, change: Callable[[Path], None], tuned: Path
) -> None:
    change(tuned)
    InputRules(max_source_length=length).save(tuned)
    with pytest.raises(ScratchformerError, match=r"inputs\.json: ") as raised:
        load_predictor(tuned)
    assert str(tuned) in str(raised.value) and "\n" not in str(raised.value)
