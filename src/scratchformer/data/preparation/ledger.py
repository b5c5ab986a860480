"""What the split needs to know of every row: digests, never the texts."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchformer.data.preparation.digests import digests, normalised
from scratchformer.data.preparation.rows import Row


class Entries(NamedTuple):
    """What the split needs to know of some rows: [rows] each."""

    likeness: NDArray[np.uint64]  # digest of the normalised input text
    text: NDArray[np.uint64]  # … of the input text as it is
    whole: NDArray[np.uint64]  # … together with its targets
    group: NDArray[np.uint64]
    identity: NDArray[np.uint64]
    labels: list[str]  # empty where the task has none


def entries_of(rows: Sequence[Row], seed: int, *, labelled: bool) -> tuple[Entries, list[str]]:
    """The entries of the rows, and the group of each: its likeness where the row names none."""
    # No text holds NUL, so the two of a pair cannot run together.
    texts = ["\0".join(row.inputs) for row in rows]
    likeness = digests("\0".join(map(normalised, row.inputs)) for row in rows)
    groups = [
        f"{like:016x}" if row.group is None else row.group
        for row, like in zip(rows, likeness.tolist(), strict=True)
    ]
    entries = Entries(
        likeness,
        digests(texts),
        digests("\0".join((t, "", *row.targets)) for t, row in zip(texts, rows, strict=True)),
        digests(f"{seed}/{group}" for group in groups),
        digests(row.id for row in rows),
        [row.targets[0] for row in rows] if labelled else [],
    )
    return entries, groups


@dataclass
class Ledger:
    """The entries of all rows, 41 bytes a row and 8 for its label."""

    given: "array[int]" = field(default_factory=lambda: array("b"))  # split of the source
    likeness: "array[int]" = field(default_factory=lambda: array("Q"))
    text: "array[int]" = field(default_factory=lambda: array("Q"))
    whole: "array[int]" = field(default_factory=lambda: array("Q"))
    group: "array[int]" = field(default_factory=lambda: array("Q"))
    identity: "array[int]" = field(default_factory=lambda: array("Q"))
    label: "array[int]" = field(default_factory=lambda: array("q"))  # index into `labels`
    labels: dict[str, int] = field(default_factory=dict)

    def extend(self, entries: Entries, given: int) -> None:
        """Enter rows of one split of the source."""
        self.given.frombytes(bytes([given]) * len(entries.text))
        self.likeness.frombytes(entries.likeness.tobytes())
        self.text.frombytes(entries.text.tobytes())
        self.whole.frombytes(entries.whole.tobytes())
        self.group.frombytes(entries.group.tobytes())
        self.identity.frombytes(entries.identity.tobytes())
        self.label.extend(
            [self.labels.setdefault(label, len(self.labels)) for label in entries.labels]
        )

    def __len__(self) -> int:
        return len(self.text)
