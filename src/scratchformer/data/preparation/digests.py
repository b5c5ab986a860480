"""Short names for texts: what tells that two texts are the same, and where a group belongs.

Only digests are kept in memory while a data set is split, 8 bytes a row, never the texts. With
10 million different texts, two share a digest with probability 3e-6.
"""

import hashlib
import unicodedata


def digest(text: str) -> int:
    """64 bits of BLAKE2b: the same on every machine and in every process, unlike `hash`."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def normalised(text: str) -> str:
    """The form in which two texts count as duplicates: NFKC, case folded, white space collapsed."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
