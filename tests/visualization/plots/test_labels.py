"""Labels can be drawn, are short enough, and say what they stand for."""

from scratchformer.visualization.plots.labels import (
    every,
    line_pitch,
    numbered,
    printable,
    shorten,
    token_label,
)


def test_white_space_is_one_line() -> None:
    assert printable("a\n\tb\r\n c") == "a b c"


def test_letters_of_installed_fonts_stay_and_others_become_code_points() -> None:
    assert printable("naïve ʃtrʊkˈtuːɐ Ωμ Жук") == "naïve ʃtrʊkˈtuːɐ Ωμ Жук"
    assert printable("\U0001fae8") == "U+1FAE8"  # a face that no font here has
    assert printable("a\x00b\u202e") == "aU+0000bU+202E"


def test_tokens_are_visible() -> None:
    assert [token_label(token) for token in (" ", "\n", "", "▁the", "##ing")] == [
        "␣", "⏎", "∅", "▁the", "##ing",
    ]  # fmt: skip


def test_a_lone_combining_mark_stands_on_a_circle() -> None:
    assert token_label("\u0301") == "◌\u0301"


def test_long_labels_are_cut_at_the_end() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
    assert token_label("x" * 40) == "x" * 13 + "…"


def test_every_label_has_its_line() -> None:
    for count in (1, 5, 21, 64, 500):
        step = every(count, 5.0)
        shown = len(range(0, count, step))
        assert shown * line_pitch() <= 5.0 + 1e-9
        assert step == 1 or len(range(0, count, step - 1)) * line_pitch() > 5.0
    assert every(0, 5.0) == 1


def test_a_number_stays_with_its_token() -> None:
    assert numbered(["the", "cat"]) == "1\u00a0the   2\u00a0cat"
