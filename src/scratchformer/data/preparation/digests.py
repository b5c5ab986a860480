"""Short names for texts: what tells that two texts are the same, and where a group belongs.

Only digests are kept in memory while a data set is split, 8 bytes a row, never the texts. With
10 million different texts, two share a digest with probability 3e-6.
"""

import unicodedata
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def digest(text: str) -> int:
    """64 bits of BLAKE2b: the same on every machine and in every process, unlike `hash`."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def digests(texts: Iterable[str]) -> NDArray[np.uint64]:
    """[texts] the digest of each."""
    joined = b"".join([blake2b(text.encode(), digest_size=8).digest() for text in texts])
    return np.frombuffer(joined, ">u8").astype(np.uint64)


def normalised(text: str) -> str:
    """The form in which two texts count as duplicates: NFKC, case folded, white space collapsed."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())
