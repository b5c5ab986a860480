"""What the user probably meant: the nearest valid word, and the sentence that offers it."""

from collections.abc import Sequence


def nearest(word: str, valid: Sequence[str]) -> str | None:
    """The valid word that is most like `word`, whatever its case; None if none is."""
    from rapidfuzz import fuzz, process, utils

    match = process.extractOne(
        word, valid, scorer=fuzz.ratio, processor=utils.default_process, score_cutoff=60
    )
    return match[0] if match else None


def did_you_mean(word: object, valid: Sequence[str], called: str = "valid") -> str:
    """`did you mean cosine? (valid: cosine, linear)`, or only the list if nothing is near."""
    match, listed = nearest(str(word), valid), ", ".join(valid)
    return f"did you mean {match}? ({called}: {listed})" if match else f"{called}: {listed}"
