"""Which letter says which sound: a monotone alignment learned from pairs alone.

Each source symbol emits zero, one or two target symbols, in order (the "epsilon scattering" of
Black, Lenzo and Pagel 1998, "Issues in building general letter to sound rules"). Training is hard
EM: align every pair with the present probabilities, count, repeat. Pairs of equal lengths are
aligned together as arrays, so 100,000 words take a second an iteration and no loop over words.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scratchformer.base.output_kind import MOST_EMITTED, can_be_aligned

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_ITERATIONS = 5
_UNSEEN = 0.01  # added to every count


class Aligned(NamedTuple):
    """Pairs of equal source lengths after alignment.

    `sources` is `[pairs, source]`. `emitted` is `[pairs, source, 2]`: the ids of the target
    symbols that each source symbol emits, filled up with the number of target symbols ("none").
    """

    sources: Ints
    emitted: Ints


def align(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], num_source: int, num_target: int
) -> list[Aligned]:
    """Align pairs of symbol ids; one entry of the result for each pair of lengths.

    Pairs whose target is more than twice as long as the source cannot be aligned and are left out.

    Args:
        pairs: source ids below `num_source`, target ids below `num_target`.
    """
    batches = _by_lengths(pairs)
    counts = _cooccurrences(batches, num_source, num_target)
    for _ in range(_ITERATIONS):
        scores = np.log(counts / counts.sum(axis=1, keepdims=True))
        aligned = [
            Aligned(sources, _emitted(targets, _best_path(sources, targets, scores), num_target))
            for sources, targets in batches
        ]
        counts = np.full((num_source, num_target + 1), _UNSEEN)
        for sources, emitted in aligned:
            first, second = emitted[..., 0], emitted[..., 1]
            np.add.at(counts, (sources, first), 1)
            two = second < num_target
            np.add.at(counts, (sources[two], second[two]), 1)
    return aligned


def _by_lengths(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[Ints, Ints]]:
    lengths: dict[tuple[int, int], list[int]] = {}
    for index, (source, target) in enumerate(pairs):
        if can_be_aligned(len(source), len(target)):
            lengths.setdefault((len(source), len(target)), []).append(index)
    return [
        (np.array([pairs[i][0] for i in rows]), np.array([pairs[i][1] for i in rows]))
        for rows in lengths.values()
    ]


def _cooccurrences(batches: list[tuple[Ints, Ints]], num_source: int, num_target: int) -> Floats:
    """First guess, `[source symbol, target symbol or none]`: what occurs in the same pairs."""
    counts = np.ones((num_source, num_target + 1))
    for sources, targets in batches:
        np.add.at(counts, (sources[:, :, None], targets[:, None, :]), 1 / sources.shape[1])
    counts[:, num_target] = counts.sum(axis=1) / 5  # about one letter in five is silent
    return counts


def _best_path(sources: Ints, targets: Ints, log_probability: Floats) -> Ints:
    """How many target symbols each source symbol emits on the likeliest path, `[pairs, source]`.

    Viterbi's algorithm: `best[p, j]` is the score of the likeliest path of pair p that has emitted
    j target symbols so far.
    """
    pairs, width = targets.shape
    none = log_probability.shape[1] - 1
    best = np.full((pairs, width + 1), -np.inf)
    best[:, 0] = 0.0
    choices = np.empty((sources.shape[1], pairs, width + 1), np.int8)
    for i in range(sources.shape[1]):
        emission = log_probability[sources[:, i]]  # [pairs, target symbols + 1]
        symbol = np.take_along_axis(emission, targets, axis=1)  # [pairs, width]
        scores = np.full((MOST_EMITTED + 1, pairs, width + 1), -np.inf)
        scores[0] = best + emission[:, none, None]
        scores[1][:, 1:] = best[:, :-1] + symbol
        scores[2][:, 2:] = best[:, :-2] + symbol[:, :-1] + symbol[:, 1:]
        choices[i] = scores.argmax(axis=0)
        best = scores.max(axis=0)

    emitted = np.empty(sources.shape, np.int64)
    position, rows = np.full(pairs, width), np.arange(pairs)
    for i in reversed(range(sources.shape[1])):
        emitted[:, i] = choices[i, rows, position]
        position -= emitted[:, i]
    return emitted


def _emitted(targets: Ints, how_many: Ints, none: int) -> Ints:
    """Counts `[pairs, source]` as the symbols themselves, `[pairs, source, 2]`."""
    start = how_many.cumsum(axis=1) - how_many
    padded = np.pad(targets, ((0, 0), (0, MOST_EMITTED)), constant_values=none)
    symbols = [np.take_along_axis(padded, start + k, axis=1) for k in range(MOST_EMITTED)]
    return np.stack(
        [np.where(how_many > k, symbols[k], none) for k in range(MOST_EMITTED)], axis=-1
    )
