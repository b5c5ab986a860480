"""What kind of token something is, for colours: phonemes by manner of articulation."""

from collections.abc import Sequence

# ARPAbet, the alphabet of CMUdict, in the classes of phonetics textbooks.
_ARPABET = {
    "vowel": "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW",
    "stop": "P B T D K G",
    "affricate": "CH JH",
    "fricative": "F V TH DH S Z SH ZH HH",
    "nasal": "M N NG",
    "liquid or glide": "L R W Y",
}
_MANNER = {phoneme: manner for manner, row in _ARPABET.items() for phoneme in row.split()}


def token_kinds(tokens: Sequence[str]) -> list[str]:
    """The manner of articulation if all tokens are ARPAbet phonemes, else letters and the rest.

    >>> token_kinds(["AA", "NG"])
    ['vowel', 'nasal']
    >>> token_kinds(["a", "7"])
    ['letters', 'digits']
    """
    if all(token in _MANNER for token in tokens):
        return [_MANNER[token] for token in tokens]
    return [_written_kind(token.lstrip("▁")) for token in tokens]


def _written_kind(token: str) -> str:
    if token.isalpha():
        return "letters"
    return "digits" if token.isdigit() else "other"
