"""The controls learn what they should, and nothing from the rows they are asked about."""

from collections import Counter

import numpy as np
import pytest

from scratchformer.evaluation.controls.alignment import align
from scratchformer.evaluation.controls.igtree import LetterContext
from scratchformer.evaluation.controls.linear import (
    label_shares,
    letters_by_context,
    nearest_answers,
    tfidf_regression,
)
from scratchformer.evaluation.reports.neighbours import nearest_rows

# Letters that say themselves, a silent one, one that says two sounds, and one whose sound depends
# on the next letter: the four things that an alignment has to find.
SOUNDS = {"a": ["A"], "t": ["T"], "n": ["N"], "e": [], "x": ["K", "S"], "i": ["I"]}


def spell(word: str) -> list[str]:
    """The letter c is S before "i" and K otherwise."""
    units: list[str] = []
    for place, letter in enumerate(word):
        if letter == "c":
            units += ["S"] if word[place + 1 : place + 2] == "i" else ["K"]
        else:
            units += SOUNDS[letter]
    return units


def made_up_words(seed: int, count: int) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list("atnexic"), random.integers(3, 8))) for _ in range(count)]


def test_alignment_finds_silent_and_double_letters() -> None:
    words = [word for word in made_up_words(0, 600) if spell(word)]
    letters = {letter: i for i, letter in enumerate("atnexic")}
    units = {unit: i for i, unit in enumerate(["A", "T", "N", "K", "S", "I"])}
    pairs = [([letters[c] for c in word], [units[u] for u in spell(word)]) for word in words]
    emitted: dict[str, Counter[tuple[int, int]]] = {letter: Counter() for letter in letters}
    for batch in align(pairs, len(letters), len(units)):
        for source, answers in zip(batch.sources, batch.emitted, strict=True):
            for letter, answer in zip(source, answers, strict=True):
                emitted["atnexic"[letter]][tuple(answer.tolist())] += 1
    none = len(units)
    expected = {
        "a": (units["A"], none), "e": (none, none), "x": (units["K"], units["S"]),
        "c": (units["K"], none),
    }  # fmt: skip
    for letter, answer in expected.items():
        found = emitted[letter]
        assert found.most_common(1)[0][0] == answer, letter
        # "c" has a second sound; what else differs is "ex", which may be cut in two places.
        assert found[answer] > (0.7 if letter == "c" else 0.8) * found.total(), (letter, found)


def test_letters_by_context_read_words_they_never_saw() -> None:
    train = [word for word in made_up_words(0, 600) if spell(word)]
    unseen = sorted(set(made_up_words(1, 200)) - set(train))
    model = LetterContext.fit(train, [spell(word) for word in train])
    assert len(unseen) > 100
    answers = zip(model.predict(unseen), unseen, strict=True)
    assert sum(answer == spell(word) for answer, word in answers) > 0.97 * len(unseen)


def test_an_unknown_letter_and_a_pair_that_cannot_be_aligned_are_survived() -> None:
    model = LetterContext.fit(["at", "ta", "a"], [["A", "T"], ["T", "A"], ["A"] * 9])
    assert model.predict(["tat"]) == [["T", "A", "T"]]
    assert model.predict(["ßt"])[0][-1:] == ["T"]


def test_the_answer_of_a_wider_context_wins_and_a_tie_goes_to_the_narrower_one() -> None:
    # Alone "c" is mostly K; before "i" it is S twice and K once, so S wins there.
    sources = ["ca", "ca", "ca", "ci", "ci", "ci", "nca", "nca"]
    targets = [["K", "A"]] * 3 + [["S", "I"]] * 2 + [["K", "I"], ["N", "K", "A"], ["N", "S", "A"]]
    model = LetterContext.fit(sources, targets)
    assert model.predict(["ci", "ca"]) == [["S", "I"], ["K", "A"]]
    assert model.predict(["nca"]) == [["N", "K", "A"]]


def test_a_huge_alphabet_narrows_the_window_instead_of_overflowing() -> None:
    random = np.random.default_rng(0)
    alphabet = [chr(0x4E00 + i) for i in range(3000)]
    words = ["".join(random.choice(alphabet, 4)) for _ in range(1500)]
    model = LetterContext.fit(words, [list(word) for word in words])
    assert 3001 ** (sum(model.tables[-1].window) + 1) < 2**63
    assert model.predict(words[:50]) == [list(word) for word in words[:50]]


def test_joined_answers() -> None:
    train = (["at", "ta", "tat"], [["A T"], ["T A"], ["T A T"]])
    assert letters_by_context(train, ["tata"], "blanks") == ["T A T A"]
    train = (["at", "ta", "tat"], [["ат"], ["та"], ["тат"]])
    assert letters_by_context(train, ["tata"], "characters") == ["тата"]


def test_the_nearest_row_and_its_answer() -> None:
    train = ["a dog runs in the park", "two men play football", "a woman reads a book"]
    found = nearest_rows(train, ["Two men played football", "A  book reads a woman", "zzz"])
    assert found.row.tolist()[:2] == [1, 2]
    assert found.similarity[1] == pytest.approx(1.0)
    assert 0.5 < found.similarity[0] < 1
    assert found.similarity[2] == 0
    assert nearest_answers((train, [["eins"], ["zwei", "zwo"], ["drei"]]), ["two men"]) == ["zwei"]


def test_nearest_rows_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(made_up_words(seed, 4)) for seed in range(60)]
    whole = nearest_rows(texts[:40], texts[40:])
    monkeypatch.setattr("scratchformer.evaluation.reports.neighbours._ROWS_AT_ONCE", 7)
    parts = nearest_rows(texts[:40], texts[40:])
    assert whole.row.tolist() == parts.row.tolist()


def test_label_shares_predict_the_majority() -> None:
    shares = label_shares(np.array([2, 0, 2, 1]), rows=3, num_labels=4)
    assert shares.shape == (3, 4)
    assert shares[0].tolist() == [0.25, 0.25, 0.5, 0.0]


def test_tfidf_learns_words_chooses_on_valid_and_gives_every_label_a_column() -> None:
    random = np.random.default_rng(0)
    topics = [["cat", "dog", "horse"], ["car", "bus", "train"], ["red", "blue", "green"]]

    def rows(count: int) -> tuple[list[str], np.ndarray]:
        labels = random.integers(0, 3, count)
        return [" ".join(random.choice(topics[label], 3)) for label in labels], labels

    train, valid, test = rows(120), rows(40), rows(60)
    found = tfidf_regression(train, valid, test[0], num_labels=5)
    assert found.probabilities.shape == (60, 5)
    assert (found.probabilities.argmax(axis=1) == test[1]).mean() > 0.95
    assert found.probabilities[:, 3:].sum() == 0
    assert found.valid_accuracy > 0.95

    wrong_valid = (valid[0], (valid[1] + 1) % 3)
    assert tfidf_regression(train, wrong_valid, test[0], 5).valid_accuracy < 0.2
