"""Reports of sequence systems: words and sentences, with intervals and paired differences."""

import json

import numpy as np
import pytest
import sacrebleu

from scratchformer.evaluation.reports.sequences import (
    SequenceOutput,
    SequenceTest,
    prediction_table,
    sequence_difference,
    sequence_report,
    translation_comparison,
)
from scratchformer.evaluation.significance.bootstrap import Resampling
from scratchformer.evaluation.systems.scoring import TokenLosses


def words(count: int = 60) -> SequenceTest:
    references = [["K AE T", "K AA T"] if i % 2 else ["D AO G Z"] for i in range(count)]
    ids = [str(i) for i in range(count)]
    return SequenceTest(ids, ["word"] * count, references, ids)


def sentences(count: int = 40) -> SequenceTest:
    random = np.random.default_rng(0)
    vocabulary = [f"w{i}" for i in range(30)]
    references = [[" ".join(random.choice(vocabulary, 9))] for _ in range(count)]
    ids = [str(i) for i in range(count)]
    return SequenceTest(ids, ["a source sentence"] * count, references, ids)


def resampling(test: SequenceTest) -> Resampling:
    return Resampling(test.groups, resamples=300, confidence=0.95, seed=0)


def test_words_are_scored_by_word_and_phoneme_error_rate() -> None:
    test = words()
    losses = TokenLosses(np.full(60, 2.0), np.full(60, 4.0), np.full(60, 3.0))
    output = SequenceOutput(["K AA T"] * 60, [-1.0] * 60, losses)
    table = prediction_table(test, output)
    assert table.column("distance").to_pylist()[:2] == [4, 0]
    assert table.column("exact").to_pylist()[:2] == [False, True]
    report = sequence_report(test, output, table, resampling(test))
    assert report["wer"] == report["exact_match"] == 0.5
    assert report["per"] == pytest.approx((30 * 4) / (30 * 4 + 30 * 3))
    assert report["loss"] == 0.5
    assert report["perplexity"] == pytest.approx(np.exp(0.5))
    assert report["token_accuracy"] == 0.75
    assert "bleu" not in report
    for name, ends in report["intervals"].items():
        assert ends["low"] <= report[name] <= ends["high"], name
    assert report["intervals"]["wer"]["high"] - report["intervals"]["wer"]["low"] > 0.1


def test_a_perfect_system_still_has_an_interval_and_a_hopeless_loss_is_finite() -> None:
    test = words()
    losses = TokenLosses(np.full(60, 9e3), np.full(60, 3.0), np.zeros(60))
    output = SequenceOutput([row[0] for row in test.references], None, losses)
    report = sequence_report(test, output, prediction_table(test, output), resampling(test))
    assert report["wer"] == 0
    assert report["intervals"]["wer"]["low"] == 0
    assert 0.03 < report["intervals"]["wer"]["high"] < 0.07
    json.dumps(report, allow_nan=False)


def test_a_paired_difference_of_words() -> None:
    test = words()
    better = SequenceOutput([row[-1] for row in test.references])
    worse = SequenceOutput(["K AE T"] * 60)
    found = sequence_difference(
        test, prediction_table(test, better), prediction_table(test, worse), resampling(test)
    )
    assert found["wer"]["value"] == pytest.approx(-0.5)
    assert found["wer"]["low"] < -0.3 and found["wer"]["high"] < 0
    assert found["per"]["value"] < 0


def test_characters_where_the_targets_hold_no_blanks() -> None:
    test = SequenceTest(["1"], ["katja"], [["катя"]], ["1"])
    output = SequenceOutput(["кати"])
    report = sequence_report(test, output, prediction_table(test, output), resampling(test))
    assert report["cer"] == 0.25 and "per" not in report


def test_sentences_are_scored_with_sacrebleu() -> None:
    test = sentences()
    said = [" ".join([*row[0].split()[:7], "wrong"]) for row in test.references]
    output = SequenceOutput(said)
    report = sequence_report(test, output, prediction_table(test, output), resampling(test))
    expected = sacrebleu.corpus_bleu(said, [[row[0] for row in test.references]])
    assert report["bleu"] == pytest.approx(expected.score)
    assert "version:" in report["chrf_signature"] and "tok:13a" in report["bleu_signature"]
    assert report["token_error_rate"] == pytest.approx(2 / 9)
    assert "wer" not in report


def test_a_paired_test_of_translations() -> None:
    test = sentences()
    good = SequenceOutput([" ".join(row[0].split()[:8]) for row in test.references])
    same = SequenceOutput(list(good.predictions))
    bad = SequenceOutput([" ".join(row[0].split()[:5]) for row in test.references])
    found = translation_comparison(test, {"model": good, "same": same, "bad": bad}, 200)
    report = sequence_report(test, good, prediction_table(test, good), resampling(test))
    for metric in ("bleu", "chrf"):
        assert "p_value" not in found["model"][metric]
        assert found["bad"][metric]["p_value"] < 0.05 < found["same"][metric]["p_value"]
        ends = found["model"][metric]
        assert ends["low"] <= report[metric] <= ends["high"] or ends["low"] == pytest.approx(
            report[metric], abs=1
        )


def test_a_vocabulary_without_capitals_is_compared_without_capitals() -> None:
    test = SequenceTest(["1"], ["a b"], [["Ein Hund läuft schnell"]], ["1"], lowercase=True)
    output = SequenceOutput(["ein hund läuft schnell"])
    report = sequence_report(test, output, prediction_table(test, output), resampling(test))
    assert report["exact_match"] == 1 and report["bleu"] == pytest.approx(100)
    assert "case:lc" in report["bleu_signature"]
