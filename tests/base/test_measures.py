"""The measures are what the libraries say, on one draw and on many."""

import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sklearn.metrics import f1_score

from scratchformer.base.errors import ParamsError
from scratchformer.base.measures import MEASURES, measures_from, shown
from scratchformer.base.statistics import bleu, calibration_error, chrf, macro_f1, macro_f1_of


def test_macro_f1_is_over_the_labels_that_occur() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        gold, said = random.integers(0, 5, 12), random.integers(2, 7, 12)
        expected = f1_score(gold, said, average="macro", zero_division=0)
        assert macro_f1_of(said, gold, 9) == pytest.approx(expected)
    # Of four labels the third is only predicted (0), the fourth is neither (left out).
    assert macro_f1_of([0, 0, 1, 2], [0, 0, 1, 1], 4) == pytest.approx((1 + 2 / 3 + 0) / 3)
    nothing = np.zeros((2, 3))
    assert np.isnan(macro_f1({"predicted": nothing, "gold": nothing, "hits": nothing})).all()


def random_corpus(seed: int) -> tuple[list[str], list[str]]:
    random = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(8)]
    lengths = random.integers(1, 9, (2, 12))
    said, true = ([" ".join(random.choice(words, n)) for n in side] for side in lengths)
    return said, true


@pytest.mark.parametrize("seed", range(12))
def test_bleu_and_chrf_of_sums_are_sacrebleus(seed: int) -> None:
    said, true = random_corpus(seed)
    stats = np.array(BLEU()._extract_corpus_statistics(said, [true]), float).sum(axis=0)[None]
    sums = {"bleu_hypothesis": stats[:, 0], "bleu_reference": stats[:, 1],
            "bleu_matches": stats[:, 2:6], "bleu_total": stats[:, 6:]}  # fmt: skip
    assert bleu(sums)[0] == pytest.approx(sacrebleu.corpus_bleu(said, [true]).score)
    orders = np.array(CHRF()._extract_corpus_statistics(said, [true]), float).sum(axis=0)[None]
    parts = {f"chrf_{name}": orders[:, place::3]
             for place, name in enumerate(("hypothesis", "reference", "matches"))}  # fmt: skip
    assert chrf(parts)[0] == pytest.approx(sacrebleu.corpus_chrf(said, [true]).score)


def test_bleu_without_any_match_or_any_long_enough_row_is_0_as_sacrebleu_says() -> None:
    for matches, total in (([0, 0, 0, 0], [4, 3, 2, 1]), ([2, 1, 0, 0], [2, 1, 0, 0])):
        sums = {"bleu_matches": np.array([matches], float), "bleu_total": np.array([total], float),
                "bleu_hypothesis": np.array([4.0]), "bleu_reference": np.array([4.0])}  # fmt: skip
        expected = BLEU.compute_bleu(matches, total, 4, 4).score
        assert bleu(sums)[0] == pytest.approx(expected, abs=1e-6)


def test_chrf_weighs_recall_as_its_paper_and_sacrebleu_do() -> None:
    from scratchformer.base import statistics

    assert CHRF().beta == statistics._CHRF_BETA == 2  # chrF2, Popović 2016


def test_a_hopeless_loss_has_a_finite_perplexity() -> None:
    sums = {"nll": np.array([7.0, 1e6]), "items": np.array([7.0, 1.0])}
    found = MEASURES["perplexity"].statistic(sums)
    assert found[0] == pytest.approx(np.e) and np.isfinite(found[1])


def test_calibration_error_counted_by_hand() -> None:
    sums = {"claimed": np.array([[1.2, 3.6]]), "claimed_right": np.array([[1.0, 4.0]]),
            "rows": np.array([6.0])}  # fmt: skip
    assert calibration_error(sums)[0] == pytest.approx((0.2 + 0.4) / 6)


def test_every_measure_says_enough_to_be_shown() -> None:
    titles = [measure.title for measure in MEASURES.values()]
    assert len(set(titles)) == len(titles)
    for key, measure in MEASURES.items():
        assert measure.key == key and measure.sums
        assert len(measure.short) <= len("tok. err."), key
        assert measure.said_by is None or measure.said_by in MEASURES


def test_values_as_they_are_shown() -> None:
    accuracy, perplexity = MEASURES["accuracy"], MEASURES["perplexity"]
    assert accuracy.text_with_ends(0.379, 0.368, 0.391) == "37.9 % [36.8, 39.1]"
    assert accuracy.text_with_ends(0.379, None, None) == "37.9 %"
    assert perplexity.text(1.359) == "1.36"
    assert accuracy.difference_text(0.0271, -0.01, 0.04) == "+2.7 points [-1.0, +4.0]"
    assert accuracy.better(0.2, 0.1) and perplexity.better(1.0, 2.0)
    assert not accuracy.better(0.1, 0.1) and not perplexity.better(2.0, 1.0)


def test_sums_tell_which_measures_they_allow() -> None:
    assert [m.key for m in measures_from({"nll", "items"})] == ["loss"]
    words = {"exact", "exact_word", "phoneme_edits", "phonemes"}
    assert [m.key for m in measures_from(words)] == ["wer", "per", "exact_match"]
    assert [m.key for m in shown({"wer", "exact_match", "per"})] == ["wer", "per"]
    assert [m.key for m in shown({"exact_match", "bleu"})] == ["bleu", "exact_match"]


def test_an_unknown_measure_is_told_with_the_nearest() -> None:
    with pytest.raises(ParamsError, match="unknown measure 'acuracy'; did you mean accuracy"):
        MEASURES["acuracy"]


def test_the_direction_of_every_measure() -> None:
    """Errors, losses and what is computed from them; a direction turned round misreads a table."""
    assert {key for key, measure in MEASURES.items() if not measure.higher_is_better} == {
        "wer", "per", "cer", "token_error_rate", "loss", "perplexity", "ece",
    }  # fmt: skip
