"""A strong classical control for word-to-symbols tasks: each letter by its longest known context.

Grapheme-to-phoneme conversion without a neural network: align letters with phonemes, remember
what each letter emits in each context of up to four letters to both sides, and predict what is most
frequent in the widest context seen in training. This is the lazy learner of Daelemans and van den
Bosch (1996, "Language-independent data-oriented grapheme-to-phoneme conversion") in its
compressed form, the IGTree: one sorted table per width of context, no parameter to tune.

It decides letter by letter and never sees its own output, so what a Transformer adds over it is
what needs the whole word.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchformer.evaluation.controls.alignment import align
from scratchformer.evaluation.controls.left_out import CannotFitError

Ints = NDArray[np.int64]

# Letters to the left and to the right; the right side says more about English vowels.
_WINDOWS = ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (3, 4), (4, 4))
_REACH = 4


@dataclass(frozen=True)
class _Table:
    """What is emitted in each context of one width: sorted context keys, an output for each."""

    window: tuple[int, int]
    base: int  # of the digits of a key
    keys: Ints
    outputs: Ints

    @classmethod
    def of_majorities(
        cls, window: tuple[int, int], base: int, windows: Ints, outputs: Ints, narrower: Ints
    ) -> "_Table":
        """The most frequent output of each context; in a tie, what the narrower table says."""
        keys = _context_keys(windows, window, base)
        order = np.lexsort((outputs, keys))
        keys, outputs, agrees = keys[order], outputs[order], (outputs == narrower)[order]
        first = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]) | (outputs[1:] != outputs[:-1])])
        counts = np.diff(np.r_[first, len(keys)])
        keys, outputs, agrees = keys[first], outputs[first], agrees[first]
        order = np.lexsort((agrees, counts, keys))  # the last entry of a key wins
        keys, outputs = keys[order], outputs[order]
        last = np.r_[keys[1:] != keys[:-1], True]
        return cls(window, base, keys[last], outputs[last])

    def look_up(self, windows: Ints, otherwise: Ints) -> Ints:
        """The outputs to known contexts; `otherwise` where a context was never seen. `[letters]`"""
        keys = _context_keys(windows, self.window, self.base)
        place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.outputs[place], otherwise)


@dataclass(frozen=True)
class IGTree:
    """The fitted control."""

    letters: dict[str, int]  # from 1; 0 stands for the edge of the word and for unknown letters
    units: list[str]  # of the target
    tables: list[_Table]  # from the narrowest to the widest

    @classmethod
    def fit(cls, sources: Sequence[str], targets: Sequence[Sequence[str]]) -> "IGTree":
        """Learn from words and the units (phonemes) each is to give; one entry per pair.

        Raises:
            CannotFitError: no pair can be aligned.
        """
        letters = {c: i for i, c in enumerate(sorted(set().union(*sources)), start=1)}
        units = sorted(set().union(*targets))
        unit_ids = {unit: i for i, unit in enumerate(units)}
        pairs = [
            ([letters[c] for c in source], [unit_ids[unit] for unit in target])
            for source, target in zip(sources, targets, strict=True)
        ]
        base = len(letters) + 1
        aligned = align(pairs, base, len(units))
        if not aligned:
            raise CannotFitError(
                "no training pair can be aligned: every target is more than twice as long as its "
                "source"
            )
        windows = np.concatenate([_windows(batch.sources) for batch in aligned])
        emitted = np.concatenate([batch.emitted.reshape(-1, 2) for batch in aligned])
        outputs = emitted[:, 0] * (len(units) + 1) + emitted[:, 1]

        tables: list[_Table] = []
        narrower = np.full(len(windows), -1)
        for window in _WINDOWS:
            if base ** (sum(window) + 1) >= 2**63:
                break  # a context must fit into one integer: huge alphabets get narrower windows
            tables.append(_Table.of_majorities(window, base, windows, outputs, narrower))
            narrower = tables[-1].look_up(windows, narrower)
        return cls(letters, units, tables)

    def predict(self, sources: Sequence[str]) -> list[list[str]]:
        """The units of each word."""
        ids = [np.array([[self.letters.get(c, 0) for c in word]], np.int64) for word in sources]
        windows = np.concatenate([_windows(word) for word in ids])
        none = len(self.units)
        outputs = np.full(len(windows), none * (none + 1) + none)  # emits nothing
        for table in self.tables:
            outputs = table.look_up(windows, outputs)
        ends = np.cumsum([len(word) for word in sources])[:-1]
        return [self._spell(word) for word in np.split(outputs, ends)]

    def _spell(self, outputs: Iterable[int]) -> list[str]:
        none = len(self.units)
        emitted = (part for output in outputs for part in divmod(int(output), none + 1))
        return [self.units[part] for part in emitted if part != none]


def _windows(words: Ints) -> Ints:
    """Each letter with four neighbours to both sides: `[words, letters]` → `[words·letters, 9]`."""
    padded = np.pad(words, ((0, 0), (_REACH, _REACH)))
    view = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1, axis=1)
    return view.reshape(-1, 2 * _REACH + 1)


def _context_keys(windows: Ints, window: tuple[int, int], base: int) -> Ints:
    """The letters of a context as the digits of one integer, `[letters]`."""
    left, right = window
    keys = np.zeros(len(windows), np.int64)
    for column in range(_REACH - left, _REACH + right + 1):
        keys = keys * base + windows[:, column]
    return keys
