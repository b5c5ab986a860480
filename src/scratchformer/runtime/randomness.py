"""Counted randomness: every random choice is a function of the seed, its purpose and a number.

A generator whose state is carried from step to step has to be saved and restored exactly; a seed
that is computed from (seed, purpose, step) does not. Resuming a training needs the step number.
"""

import hashlib
from typing import Literal

Purpose = Literal[
    "weights", "adapters", "order", "dropout", "word_dropout", "bpe_dropout", "samples", "gates",
    "search",
]  # fmt: skip


def derive_seed(seed: int, purpose: Purpose, *numbers: int) -> int:
    """A seed in 0 .. 2**63 - 1 for one random choice, e.g. `derive_seed(42, "dropout", step)`.

    Neighbouring numbers give unrelated seeds (SHA-256), unlike `seed + step`, where step 2 of
    seed 1 would repeat step 1 of seed 2.
    """
    text = ":".join([purpose, str(seed), *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
