"""The controls learn what they should, and nothing from the rows they are asked about."""

from collections import Counter

import numpy as np
import pytest

from scratchformer.evaluation.controls.alignment import align
from scratchformer.evaluation.controls.igtree import IGTree
from scratchformer.evaluation.controls.left_out import CannotFitError
from scratchformer.evaluation.controls.linear import label_shares, regression, tfidf_regression
from scratchformer.evaluation.controls.sampling import draw, draw_texts
from scratchformer.evaluation.controls.sequence import letters_by_context, nearest_targets
from scratchformer.evaluation.controls.similarity import TrainingPieces

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
    model = IGTree.fit(train, [spell(word) for word in train])
    assert len(unseen) > 100
    answers = zip(model.predict(unseen), unseen, strict=True)
    assert sum(answer == spell(word) for answer, word in answers) > 0.97 * len(unseen)


def test_an_unknown_letter_and_a_pair_that_cannot_be_aligned_are_survived() -> None:
    model = IGTree.fit(["at", "ta", "a"], [["A", "T"], ["T", "A"], ["A"] * 9])
    assert model.predict(["tat"]) == [["T", "A", "T"]]
    assert model.predict(["ßt"])[0][-1:] == ["T"]


def test_the_answer_of_a_wider_context_wins_and_a_tie_goes_to_the_narrower_one() -> None:
    # Alone "c" is mostly K; before "i" it is S twice and K once, so S wins there.
    sources = ["ca", "ca", "ca", "ci", "ci", "ci", "nca", "nca"]
    targets = [["K", "A"]] * 3 + [["S", "I"]] * 2 + [["K", "I"], ["N", "K", "A"], ["N", "S", "A"]]
    model = IGTree.fit(sources, targets)
    assert model.predict(["ci", "ca"]) == [["S", "I"], ["K", "A"]]
    assert model.predict(["nca"]) == [["N", "K", "A"]]


def test_a_huge_alphabet_narrows_the_window_instead_of_overflowing() -> None:
    random = np.random.default_rng(0)
    alphabet = [chr(0x4E00 + i) for i in range(3000)]
    words = ["".join(random.choice(alphabet, 4)) for _ in range(1500)]
    model = IGTree.fit(words, [list(word) for word in words])
    assert 3001 ** (sum(model.tables[-1].window) + 1) < 2**63
    assert model.predict(words[:50]) == [list(word) for word in words[:50]]


def test_joined_answers() -> None:
    train = (["at", "ta", "tat"], [["A T"], ["T A"], ["T A T"]])
    assert letters_by_context(train, ["tata"], "blanks") == ["T A T A"]
    train = (["at", "ta", "tat"], [["ат"], ["та"], ["тат"]])
    assert letters_by_context(train, ["tata"], "characters") == ["тата"]


def test_the_nearest_row_and_its_answer() -> None:
    train = ["a dog runs in the park", "two men play football", "a woman reads a book"]
    texts = ["Two men played football", "A  book reads a woman", "zzz"]
    found = TrainingPieces.of(train).nearest(texts)
    assert found.row.tolist()[:2] == [1, 2]
    assert found.similarity[1] == pytest.approx(1.0)
    assert 0.5 < found.similarity[0] < 1
    assert found.similarity[2] == 0
    assert nearest_targets((train, [["eins"], ["zwei", "zwo"], ["drei"]]), ["two men"]) == ["zwei"]


def test_no_similarity_is_above_that_of_equal_texts() -> None:
    texts = [" ".join(made_up_words(seed, 4)) for seed in range(60)]
    similarity = TrainingPieces.of(texts).nearest(texts).similarity
    np.testing.assert_allclose(similarity, 1, atol=1e-6)
    assert similarity.max() == 1  # float32 goes beyond it


def test_nearest_rows_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(made_up_words(seed, 4)) for seed in range(60)]
    pieces, done = TrainingPieces.of(texts[:40]), []
    whole = pieces.nearest(texts[40:])
    monkeypatch.setattr("scratchformer.evaluation.controls.similarity._ROWS_AT_ONCE", 7)
    parts = pieces.nearest(texts[40:], done.append)
    assert whole.row.tolist() == parts.row.tolist()
    assert done == [7, 7, 6]


@pytest.mark.parametrize("least", [0.5, 0.8, 0.9, 0.97])
def test_the_fast_search_finds_what_the_full_one_finds(
    least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On texts of few and of many shared words, with copies that differ in nothing or a word."""
    random = np.random.default_rng(0)
    words = [f"{a}{b}" for a in ["kitten", "walking", "under"] for b in "bcdfgh"]
    train = [" ".join(random.choice(words, random.integers(3, 12))) for _ in range(150)]
    copies = [" ".join(reversed(text.split())) for text in train[::5]]
    nearly = [f"{text} {random.choice(words)}" for text in train[1::5]]
    others = [" ".join(random.choice(words, 8)) for _ in range(40)]
    texts = copies + nearly + others
    pieces = TrainingPieces.of(train)
    full = pieces.nearest(texts)
    monkeypatch.setattr("scratchformer.evaluation.controls.similarity._ROWS_AT_ONCE", 17)
    monkeypatch.setattr("scratchformer.evaluation.controls.similarity._PAIRS_AT_ONCE", 23)
    fast = pieces.nearest_above(texts, least)
    close = full.similarity >= least - 1e-6
    assert 10 < close.sum() <= len(texts)
    np.testing.assert_allclose(fast.similarity, np.where(close, full.similarity, 0), atol=1e-5)
    vectors = pieces.vectorizer.transform(texts)
    cosine = np.asarray(vectors.multiply(pieces.vectors[fast.row]).sum(axis=1)).ravel()
    np.testing.assert_allclose(cosine[close], full.similarity[close], atol=1e-5)


def test_drawn_rows_are_different_ordered_and_no_more_than_allowed() -> None:
    all_rows, some = draw(5, 5, 0), draw(6, 5, 0)
    assert all_rows.rows.tolist() == [0, 1, 2, 3, 4] and all_rows.all
    assert len(set(some.rows.tolist())) == 5 and not some.all
    assert some.rows.tolist() == sorted(some.rows) and some.rows.max() < 6
    assert str(some) == "5 of 6 training rows, drawn at random"


def test_long_texts_are_drawn_by_their_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scratchformer.evaluation.controls.sampling.TEXT_CHARACTERS", 100)
    assert len(draw_texts(["x" * 10] * 10, 0).rows) == 10
    assert len(draw_texts(["x" * 10] * 11, 0).rows) == 10
    assert len(draw_texts(["x" * 1000] * 11, 0).rows) == 1


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
    assert found.test.shape == (60, 5) and found.valid.shape == (40, 5)
    assert (found.test.argmax(axis=1) == test[1]).mean() > 0.95
    assert (found.valid.argmax(axis=1) == valid[1]).mean() > 0.95
    assert found.test[:, 3:].sum() == 0
    assert found.tried[found.C] > 0.95

    wrong_valid = (valid[0], (valid[1] + 1) % 3)
    wrong = tfidf_regression(train, wrong_valid, test[0], 5)
    assert wrong.tried[wrong.C] < 0.4  # no better than always the same label


def blobs(noise: float, dimensions: int, rows: int = 150) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and validation rows of two classes; much noise in many dimensions asks for a small
    C, features of a tiny scale for a large one."""
    random = np.random.default_rng(1)
    splits = []
    for _ in range(2):
        labels = random.integers(0, 2, rows)
        features = random.normal(0, noise, (rows, dimensions))
        features[:, 0] += labels
        splits.append((features.astype(np.float32), labels))
    return splits


@pytest.mark.parametrize(("noise", "scale"), [(3.0, 1.0), (1.0, 1.0), (0.6, 0.01)])
def test_the_chosen_c_is_the_best_of_those_tried_and_inside_its_grid(
    noise: float, scale: float
) -> None:
    from sklearn.linear_model import LogisticRegression

    train, valid = (([x * scale, y]) for x, y in blobs(noise, 60))
    found = regression(tuple(train), tuple(valid), valid[0], 2)
    for c, accuracy in found.tried.items():
        alone = LogisticRegression(C=c, max_iter=1000).fit(*train)
        assert accuracy == pytest.approx(alone.score(*valid))
    assert found.tried[found.C] == max(found.tried.values())
    assert set(found.tried) >= {1.0, 10.0, 100.0}
    assert sorted(found.tried)[0] < found.C < sorted(found.tried)[-1]


def test_the_search_for_c_goes_beyond_both_ends_up_to_its_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noisy = blobs(3.0, 60)
    tiny = [((x * 0.003).astype(np.float32), y) for x, y in blobs(0.6, 60)]
    assert regression(*noisy, noisy[1][0], 2).C < 1
    assert regression(*tiny, tiny[1][0], 2).C > 100
    monkeypatch.setattr("scratchformer.evaluation.controls.linear._LIMITS", (0.1, 1000.0))
    low, high = (regression(*data, data[1][0], 2) for data in (noisy, tiny))
    assert (low.C, min(low.tried)) == (0.1, 0.1) and low.at_edge
    assert (high.C, max(high.tried)) == (1000.0, 1000.0) and high.at_edge


def test_equal_accuracies_are_decided_by_the_loss_and_are_no_edge() -> None:
    train, valid = blobs(0.01, 2)
    found = regression(train, valid, valid[0], 2)
    assert set(found.tried.values()) == {1.0}
    assert found.C == 1e4 and not found.at_edge


def test_what_cannot_be_fitted_is_told() -> None:
    with pytest.raises(CannotFitError, match="one label only"):
        regression((np.eye(3), np.zeros(3, int)), (np.eye(3), np.zeros(3, int)), np.eye(3), 1)
    labels = np.array([0, 1])
    with pytest.raises(CannotFitError, match="share no piece"):
        tfidf_regression((["ab", "cd"], labels), (["ab", "cd"], labels), ["ab"], 2)
    with pytest.raises(CannotFitError, match="no training pair can be aligned"):
        IGTree.fit(["ko"], [list("kekes")])


def test_a_target_twice_as_long_as_its_source_is_the_longest_that_is_aligned() -> None:
    assert IGTree.fit(["ko"], [list("keke")]).predict(["ko"]) == [list("keke")]
