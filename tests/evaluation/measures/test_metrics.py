"""The metrics against hand-counted cases, other libraries, and without any disk or network."""

from pathlib import Path

import evaluate
import jiwer
import numpy as np
import pyarrow as pa
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from scratchformer.base.output_kind import split_units, unit_of
from scratchformer.evaluation.measures.edit_distance import nearest_reference
from scratchformer.evaluation.measures.metrics import (
    Accuracy,
    Bleu,
    ChrF,
    ExactMatch,
    MacroF1,
    TokenErrorRate,
    WordErrorRate,
    reference_streams,
)
from scratchformer.evaluation.reports import classification, sequences
from scratchformer.evaluation.reports.scores import values
from scratchformer.evaluation.systems.outputs import SequenceOutput

PREDICTIONS = ["K AE T", "D AO G Z", "", "R EH D"]
REFERENCES = [["K AE T"], ["D AO G"], ["AH"], ["R IY D", "R EH D"]]


def test_word_and_token_errors_counted_by_hand() -> None:
    both = evaluate.combine([ExactMatch(), WordErrorRate(), TokenErrorRate()])
    found = both.compute(predictions=PREDICTIONS, references=REFERENCES)
    # Wrong: one of "D AO G Z" (an insertion) and the empty one (a deletion); 3 + 3 + 1 + 3 units.
    assert found == {"exact_match": 0.5, "wer": 0.5, "token_error_rate": pytest.approx(2 / 10)}


def test_the_length_of_the_nearest_reference_counts() -> None:
    found = TokenErrorRate().compute(predictions=["a b c d"], references=[["x", "a b c d e"]])
    assert found == {"token_error_rate": pytest.approx(1 / 5)}


def test_the_first_of_equally_near_references_is_taken() -> None:
    assert nearest_reference("a b", ["a", "a b c"], "blanks") == (1, 1)
    assert nearest_reference("a b", ["a b c", "a"], "blanks") == (1, 3)


def test_characters_as_units() -> None:
    found = TokenErrorRate().compute(
        predictions=["katze"], references=[["kater"]], unit="characters"
    )
    assert found == {"token_error_rate": pytest.approx(2 / 5)}


words = st.lists(st.sampled_from("ABCD"), min_size=1, max_size=8).map(" ".join)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=6))
def test_with_one_reference_each_it_is_jiwers_word_error_rate(
    rows: list[tuple[str, str]],
) -> None:
    predictions, references = [row[0] for row in rows], [row[1] for row in rows]
    nearest = [nearest_reference(p, [r], "blanks") for p, r in rows]
    ours = sum(n.distance for n in nearest) / sum(n.length for n in nearest)
    assert ours == pytest.approx(jiwer.wer(references, predictions))


@given(words, st.lists(words, min_size=1, max_size=4))
def test_no_reference_is_nearer_than_the_chosen_one(output: str, references: list[str]) -> None:
    distance, length = nearest_reference(output, references, "blanks")
    alone = [nearest_reference(output, [reference], "blanks") for reference in references]
    assert distance == min(each.distance for each in alone)
    assert (distance, length) in alone
    assert (distance == 0) == (output in references)


def test_units() -> None:
    assert split_units("K AE  T", "blanks") == ["K", "AE", "T"]
    assert split_units("a b", "characters") == ["a", " ", "b"]
    assert unit_of([["K AE"], ["AH"], ["T UW"]]) == "blanks"
    assert unit_of([["катя"], ["жил был"], ["иван"]]) == "characters"


def test_accuracy_and_macro_f1() -> None:
    predictions, references = ["a", "b", "b", "c"], ["a", "a", "b", "b"]
    found = evaluate.combine([Accuracy(), MacroF1()]).compute(
        predictions=predictions, references=references
    )
    assert found["accuracy"] == 0.5
    # a: 2/3, b: 1/2, c (predicted only): 0
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["macro_f1"] == pytest.approx(f1_score(references, predictions, average="macro"))


def test_bleu_and_chrf_are_sacrebleus_with_their_signatures() -> None:
    predictions = ["The cat sat on the mat.", "A dog runs."]
    references = [["The cat sat on a mat.", "A cat sat there."], ["The dog runs fast."]]
    streams = [["The cat sat on a mat.", "The dog runs fast."], ["A cat sat there.", None]]
    assert reference_streams(references) == streams
    found = evaluate.combine([Bleu(), ChrF()]).compute(
        predictions=predictions, references=references
    )
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(predictions, streams).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(predictions, streams).score)
    assert found["bleu"] > 20
    for name in ("bleu_signature", "chrf_signature"):
        assert f"version:{sacrebleu.__version__}" in found[name]
    assert "case:lc" in str(
        Bleu().compute(predictions=predictions, references=references, lowercase=True)
    )


def test_the_sums_of_the_stage_give_the_same_scores() -> None:
    """Two ways to every score: the stage's formulas on sums, and the classes of this package."""
    gold = ["a", "c", "b", "b", "a"]
    split = {
        "id": gold, "text": gold, "text_pair": [None] * 5, "label": gold, "group": gold,
    }  # fmt: skip
    rows = classification.LabelledRows.of(pa.table(split), ["a", "b", "c", "d"])
    chosen = np.eye(4, dtype=np.float32)[[0, 1, 1, 3, 0]]
    found = values(classification.columns_of(rows, chosen))
    labels = [rows.labels[place] for place in chosen.argmax(axis=1)]
    wanted = evaluate.combine([Accuracy(), MacroF1()]).compute(predictions=labels, references=gold)
    assert {key: found[key] for key in wanted} == pytest.approx(wanted)

    said = ["the cat sat on a mat", "two small dogs run in the park", "no"]
    true = [["the cat sat on the mat", "a cat sat"], ["two dogs run in a park"], ["yes it is"]]
    for kind, predictions, references, metrics in (
        ("words", PREDICTIONS, REFERENCES, [ExactMatch(), WordErrorRate(), TokenErrorRate()]),
        ("sentences", said, true, [ExactMatch(), TokenErrorRate(), Bleu(), ChrF()]),
    ):
        texts = sequences.SequenceRows(
            predictions, predictions, references, predictions, kind, "blanks"
        )
        output = SequenceOutput(predictions)
        columns, signatures = sequences.columns_of(
            texts, output, sequences.prediction_table(texts, output)
        )
        found = values(columns)
        wanted = evaluate.combine(metrics).compute(predictions=predictions, references=references)
        if kind == "words":
            wanted["per"] = wanted.pop("token_error_rate")
        assert {key: wanted.pop(key) for key in signatures} == signatures
        assert {key: found[key] for key in wanted} == pytest.approx(wanted)


def test_metrics_make_no_folder(tmp_path: Path) -> None:
    metric = Accuracy(cache_dir=str(tmp_path / "cache"))
    assert metric.compute(predictions=["a"], references=["a"]) == {"accuracy": 1.0}
    assert not (tmp_path / "cache").exists()
