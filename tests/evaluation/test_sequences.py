"""Reports of sequence systems: words and sentences, with intervals and paired differences."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sacrebleu

from scratchformer.base.output_kind import output_kind
from scratchformer.evaluation.measures.translation import bleu_tokenizer
from scratchformer.evaluation.reports.scores import differences, scores
from scratchformer.evaluation.reports.sequences import (
    SequenceRows,
    columns_of,
    prediction_table,
)
from scratchformer.evaluation.significance.resampling import Resampling
from scratchformer.evaluation.systems.outputs import SequenceOutput, TokenLosses

RESAMPLING = Resampling(resamples=300, confidence=0.95, seed=0)


def rows_of(
    sources: list[str], references: list[list[str]], lowercase: bool = False
) -> SequenceRows:
    ids = [str(i) for i in range(len(sources))]
    split = {"id": ids, "source": sources, "targets": references, "group": ids}
    return SequenceRows.of(pa.table(split), lowercase)


def words(count: int = 60) -> SequenceRows:
    references = [["K AE T", "K AA T"] if i % 2 else ["D AO G Z"] for i in range(count)]
    return rows_of(["word"] * count, references)


def sentences(count: int = 40) -> SequenceRows:
    random = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(30)]
    references = [[" ".join(random.choice(vocabulary, 9))] for _ in range(count)]
    return rows_of(["a source sentence"] * count, references)


def columns(rows: SequenceRows, output: SequenceOutput) -> dict[str, Any]:
    return columns_of(rows, output, prediction_table(rows, output))[0]


def report(rows: SequenceRows, output: SequenceOutput) -> dict[str, Any]:
    return scores(columns(rows, output), rows.groups, RESAMPLING)


def test_words_are_scored_by_word_and_phoneme_error_rate() -> None:
    rows = words()
    losses = TokenLosses(np.full(60, 2.0), np.full(60, 4.0), np.full(60, 3.0))
    output = SequenceOutput(["K AA T"] * 60, [-1.0] * 60, losses)
    table = prediction_table(rows, output)
    assert table.column("distance").to_pylist()[:2] == [4, 0]
    assert table.column("exact").to_pylist()[:2] == [False, True]
    found = report(rows, output)
    assert found["wer"] == found["exact_match"] == 0.5
    assert found["per"] == pytest.approx((30 * 4) / (30 * 4 + 30 * 3))
    assert found["loss"] == 0.5
    assert found["perplexity"] == pytest.approx(np.exp(0.5))
    assert found["token_accuracy"] == 0.75
    assert "bleu" not in found
    # Every row has the same losses: no spread, no interval.
    assert set(found["intervals"]) == {"wer", "per", "exact_match"}
    for name, ends in found["intervals"].items():
        assert ends["low"] < found[name] < ends["high"], name
    assert found["intervals"]["wer"]["high"] - found["intervals"]["wer"]["low"] > 0.1


def test_a_perfect_system_still_has_an_interval_and_a_hopeless_loss_is_finite() -> None:
    rows = words()
    losses = TokenLosses(np.full(60, 9e3), np.full(60, 3.0), np.zeros(60))
    found = report(rows, SequenceOutput([row[0] for row in rows.references], None, losses))
    assert found["wer"] == 0
    assert found["intervals"]["wer"]["low"] == 0
    assert 0.03 < found["intervals"]["wer"]["high"] < 0.07
    json.dumps(found, allow_nan=False)


def test_a_paired_difference_of_words_is_tested_in_every_measure() -> None:
    rows = words()
    better = columns(rows, SequenceOutput([row[-1] for row in rows.references]))
    worse = columns(rows, SequenceOutput(["K AE T"] * 60))
    found = differences(better, worse, rows.groups, RESAMPLING)
    assert set(found) == {"wer", "per", "exact_match"}
    assert found["wer"]["value"] == pytest.approx(-0.5)
    assert found["wer"]["low"] < -0.3 and found["wer"]["high"] < 0
    assert found["per"]["value"] < 0
    assert all(each["p_value"] == 1 / 301 for each in found.values())


def test_characters_where_the_targets_hold_no_blanks() -> None:
    found = report(rows_of(["katja"], [["катя"]]), SequenceOutput(["кати"]))
    assert found["cer"] == 0.25 and "per" not in found


def test_sentences_are_scored_with_sacrebleu() -> None:
    rows = sentences()
    predictions = [" ".join([*row[0].split()[:7], "wrong"]) for row in rows.references]
    output = SequenceOutput(predictions)
    found = report(rows, output)
    streams = [[row[0] for row in rows.references]]
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(predictions, streams).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(predictions, streams).score)
    _, signatures = columns_of(rows, output, prediction_table(rows, output))
    assert "version:" in signatures["chrf_signature"] and "tok:13a" in signatures["bleu_signature"]
    assert found["token_error_rate"] == pytest.approx(2 / 9)
    assert "wer" not in found
    for name in ("bleu", "chrf"):
        assert "low" not in found["intervals"].get(name, {}) or (
            found["intervals"][name]["low"] < found[name] < found["intervals"][name]["high"]
        )


def test_translations_are_resampled_and_tested_by_group_as_everything_is() -> None:
    rows = sentences()
    random = np.random.default_rng(1)
    kept = random.integers(4, 10, 40)
    good = SequenceOutput([" ".join(row[0].split()[:n]) for row, n in
                           zip(rows.references, kept, strict=True)])  # fmt: skip
    bad = SequenceOutput([" ".join(row[0].split()[: n - 2]) for row, n in
                          zip(rows.references, kept, strict=True)])  # fmt: skip
    found = report(rows, good)
    change = differences(columns(rows, good), columns(rows, bad), rows.groups, RESAMPLING)
    same = differences(columns(rows, good), columns(rows, good), rows.groups, RESAMPLING)
    for measure in ("bleu", "chrf", "token_error_rate"):
        ends = found["intervals"][measure]
        assert ends["low"] < found[measure] < ends["high"]
        assert change[measure]["value"] == pytest.approx(
            found[measure] - report(rows, bad)[measure]
        )
        assert change[measure]["p_value"] < 0.05
        assert same[measure] == {"value": 0.0, "p_value": 1.0}
    # Two groups of twenty rows are two facts, not forty.
    groups = ["a"] * 20 + ["b"] * 20
    assert scores(columns(rows, good), groups, RESAMPLING)["intervals"] == {}
    change = differences(columns(rows, good), columns(rows, bad), groups, RESAMPLING)
    assert change["bleu"]["p_value"] == 0.5  # two of the four swaps are as extreme


def test_a_vocabulary_without_capitals_is_compared_without_capitals() -> None:
    rows = rows_of(["a b"], [["Ein Hund läuft schnell"]], lowercase=True)
    output = SequenceOutput(["ein hund läuft schnell"])
    found = report(rows, output)
    assert found["exact_match"] == 1 and found["bleu"] == pytest.approx(100)
    _, signatures = columns_of(rows, output, prediction_table(rows, output))
    assert "case:lc" in signatures["bleu_signature"]


@pytest.mark.parametrize(
    ("sources", "targets", "kind"),
    [
        (["cat", "dogs", "bird"], ["K AE T", "D AO G Z", "B ER D"], "words"),
        (["katja", "iwan"], ["катя", "иван"], "words"),
        (["a cat sat", "dogs run", "x"], ["eine Katze", "Hunde rennen", "x"], "sentences"),
        # Chinese sentences, Chinese words → pinyin, Japanese words → phonemes.
        (["今天他买很多书。", "我喜欢猫。"], ["he buy many books .", "I like cats"], "sentences"),
        (["我爱你", "他来了"], ["I love you so much", "he came"], "sentences"),
        (["中国", "学生", "一"], ["zhong1 guo2", "xue2 sheng1", "yi1"], "words"),
        (["こんにちは", "さくら"], ["k o N n i ch i w a", "s a k u r a"], "words"),
        (["一", "万"], ["heng1", "tiao1"], "words"),
        # Thai sentence → English; Chinese → Japanese, both without blanks; English → Chinese.
        (["ฉันรักแมวมาก", "เขามาแล้ว"], ["I love cats", "he has come"], "sentences"),
        (["今天他买很多书。", "我喜欢猫。"], ["今日彼は本を買う。", "猫が好きだ。"], "sentences"),
        (["this is a book", "he came"], ["这是一本书", "他来了"], "sentences"),
    ],
)
def test_the_kind_of_output_is_found(sources: list[str], targets: list[str], kind: str) -> None:
    assert output_kind(sources, [[target] for target in targets]) == kind


@pytest.mark.parametrize(("length", "kind"), [(8, "words"), (9, "sentences")])
def test_how_long_a_source_without_blanks_may_be_to_be_a_word(length: int, kind: str) -> None:
    assert output_kind(["字" * length] * 3, [["词" * 4]] * 3) == kind


@pytest.mark.parametrize(
    ("references", "tokenizer"),
    [
        ([["ein Satz"], ["noch einer"]], "13a"),
        ([["这是一本书。"], ["他来了"]], "zh"),
        ([["今日は本を買う。"], ["猫が好きだ。"]], "char"),
        ([["ฉันรักแมว"], ["เขามา"]], "char"),
    ],
)
def test_bleu_splits_by_what_the_targets_are_written_in(
    references: list[list[str]], tokenizer: str
) -> None:
    assert bleu_tokenizer(references) == tokenizer


def test_chinese_targets_are_scored_by_characters_and_the_signature_says_so() -> None:
    rows = rows_of(["this is a book", "he came in"], [["这是一本书"], ["他来了"]])
    output = SequenceOutput(["这是一本", "他来了"])
    found, (_, signatures) = report(rows, output), columns_of(rows, output, prediction_table(
        rows, output))  # fmt: skip
    assert "tok:zh" in signatures["bleu_signature"]
    assert found["cer"] == pytest.approx(1 / 8) and "token_error_rate" not in found
    expected = sacrebleu.corpus_bleu(output.predictions, [["这是一本书", "他来了"]], tokenize="zh")
    assert found["bleu"] == pytest.approx(expected.score)
