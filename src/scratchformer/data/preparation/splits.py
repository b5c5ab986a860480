"""Which rows go where: train, valid and test have nothing in common.

A group is assigned by a digest of (seed, group), so it does not move when rows are added, whatever
their order. Rows without a group form one with all rows of the same normalised text.

Splits that the source itself gives (a benchmark) stay as they are, duplicates among their own rows
included, so that scores compare with published ones. What they share with each other is dropped
from the split that matters less: test before valid before train. A benchmark's test split is
therefore always whole, and the training split gives way.

Works on 8-byte digests of all rows at once, so the cost is a few sorts of integers.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchformer.base.errors import DataError
from scratchformer.base.layout import SPLITS, SplitName
from scratchformer.data.preparation.ledger import Ledger
from scratchformer.params import Split

TRAIN, VALID, TEST = range(3)
DROPPED = -1


@dataclass(frozen=True)
class Plan:
    """`split[row]` is TRAIN, VALID, TEST or DROPPED. `merged_into[row]` is the row that takes its
    targets; rows that stay rows of their own point at themselves."""

    split: NDArray[np.int8]
    merged_into: NDArray[np.int64]
    counts: dict[str, int]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Rows that are written."""
        kept: NDArray[np.bool_] = self.split != DROPPED
        kept &= self.merged_into == np.arange(len(kept))
        return kept


def plan_splits(
    ledger: Ledger, shares: Split, cut: Collection[SplitName], *, merge: bool
) -> Plan:
    """Assign every row. `cut` names the splits that the source lacks: they come out of train.

    Rows are the same, and are merged or counted as repeated, only if their texts are the same
    letter by letter: "Polish" is not "polish". Texts that differ in case or width alone are still
    too alike to be learned from and tested on: no two splits share such a text.

    Raises:
        DataError: a split is left without rows, train has fewer than two labels, or a label occurs
            in valid or test only.
    """
    given = np.asarray(ledger.given)  # views, no copies
    likeness, text, whole, group = (
        np.asarray(column)
        for column in (ledger.likeness, ledger.text, ledger.whole, ledger.group)
    )
    label = np.asarray(ledger.label)
    ours = (given == TRAIN) & bool(cut)  # rows whose split is for us to choose
    split = _cut(given, group, ours, {SPLITS.index(name): getattr(shares, name) for name in cut})
    counts = dict.fromkeys(
        ("duplicates", "conflicting_labels", "moved_to_train", "across_splits", "merged"), 0
    )
    labelled = bool(ledger.labels)
    if labelled:
        # One text, one label: the first row decides.
        repeated = ours & ~_first(text, ours)
        counts["duplicates"] = int((repeated & ~_first(whole, ours)).sum())
        counts["conflicting_labels"] = int(repeated.sum()) - counts["duplicates"]
        split[repeated] = DROPPED
        counts["moved_to_train"] = _teach_every_label(split, group, label, ours)
    else:
        repeated = ours & ~_first(whole, ours)
        counts["duplicates"] = int(repeated.sum())
        split[repeated] = DROPPED
    leaked_from: Counter[int] = Counter()
    for shared in (group, likeness):
        leaked = _leaked(split, shared)
        counts["across_splits"] += int(leaked.sum())
        leaked_from.update(split[leaked].tolist())
        split[leaked] = DROPPED
    merged_into = np.arange(len(split))
    if merge:
        merged_into = _merge(split, text)
        counts["merged"] = int((merged_into != np.arange(len(split))).sum())
    plan = Plan(split, merged_into, counts)
    _demand_all_splits(plan, cut, leaked_from)
    if labelled:
        _demand_two_labels(split, label, ledger.labels)
        _demand_known_labels(split, label, ledger.labels)
    return plan


def _cut(
    given: NDArray[np.int8],
    group: NDArray[np.uint64],
    ours: NDArray[np.bool_],
    shares: Mapping[int, float],
) -> NDArray[np.int8]:
    """Cut the missing splits out of our rows: a group's digest, read as a number in [0, 1)."""
    split = given.copy()
    place = group / 2.0**64
    low = 0.0
    for code in sorted(shares, reverse=True):
        high = low + shares[code]
        split[ours & (place >= low) & (place < high)] = code
        low = high
    return split


def _first(digests: NDArray[np.uint64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True for the first row of each digest, looking only at the rows `among`."""
    rows = np.flatnonzero(among)
    _, first = np.unique(digests[rows], return_index=True)
    result = np.zeros(len(digests), dtype=np.bool_)
    result[rows[first]] = True
    return result


def _teach_every_label(
    split: NDArray[np.int8],
    group: NDArray[np.uint64],
    label: NDArray[np.int64],
    ours: NDArray[np.bool_],
) -> int:
    """Move to train the groups of a rare label that chance put into valid and test only."""
    untaught = ours & (split != DROPPED) & ~np.isin(label, label[split == TRAIN])
    moved = ours & (split > TRAIN) & np.isin(group, group[untaught])
    split[moved] = TRAIN
    return int(moved.sum())


def _leaked(split: NDArray[np.int8], digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Rows that share a digest with a row of a split that matters more."""
    _, inverse = np.unique(digests, return_inverse=True)
    best = np.full(inverse.max(initial=-1) + 1, DROPPED, dtype=np.int8)
    np.maximum.at(best, inverse, split)
    leaked: NDArray[np.bool_] = (split != DROPPED) & (split < best[inverse])
    return leaked


def _merge(split: NDArray[np.int8], text: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Every row points at the first row of its text; no text is in two splits any more."""
    merged_into = np.arange(len(split))
    rows = np.flatnonzero(split != DROPPED)
    _, first, inverse = np.unique(text[rows], return_index=True, return_inverse=True)
    merged_into[rows] = rows[first[inverse]]
    return merged_into


def _demand_all_splits(plan: Plan, cut: Collection[SplitName], leaked: Mapping[int, int]) -> None:
    total = int(plan.kept.sum())
    for code, name in enumerate(SPLITS):
        if (plan.kept & (plan.split == code)).any():
            continue
        if lost := leaked.get(code, 0):
            later = " or ".join(SPLITS[code + 1 :])
            fix = (
                f"all of its {lost} rows also stand in {later}, and no row may be in two splits: "
                "give each split rows of its own, or one file as train, which is then cut"
            )
        elif name in cut or name == "train":
            fix = "give more rows, or a larger share of them"
        else:
            fix = "check the file of that split"
        raise DataError(f"no row left for the split {name} ({total} good rows in all); {fix}")


def _demand_two_labels(
    split: NDArray[np.int8], label: NDArray[np.int64], names: Mapping[str, int]
) -> None:
    taught = np.unique(label[split == TRAIN])
    if len(taught) < 2:
        (only,) = (list(names)[index] for index in taught)
        raise DataError(
            f"every row of train has the label {only!r}; a classification needs two labels or more"
        )


def _demand_known_labels(
    split: NDArray[np.int8], label: NDArray[np.int64], names: Mapping[str, int]
) -> None:
    taught = set(label[split == TRAIN].tolist())
    for code in (VALID, TEST):
        unknown = sorted(set(label[split == code].tolist()) - taught)
        if unknown:
            texts = list(names)
            shown = ", ".join(repr(texts[index]) for index in unknown[:3])
            raise DataError(
                f"{len(unknown)} label(s) in {SPLITS[code]} never occur in train, e.g. {shown}; "
                f"train knows {len(taught)} labels: add rows of them to train or correct the label"
            )
