"""Controls for sequence tasks: what is reached without a Transformer.

| sources | trivial | classical |
|---|---|---|
| words | the source itself | each letter by its context (igtree.py) |
| sentences | the source itself | the target of the most similar training row |
"""

from collections.abc import Sequence

from scratchformer.base.output_kind import Unit, split_units
from scratchformer.evaluation.controls.igtree import IGTree
from scratchformer.evaluation.controls.similarity import Advance, TrainingPieces

Pairs = tuple[Sequence[str], Sequence[Sequence[str]]]  # sources, and the references of each


def letters_by_context(train: Pairs, sources: Sequence[str], unit: Unit) -> list[str]:
    """Predictions of `IGTree`, learned from training sources and all their references.

    Raises:
        CannotFitError: no pair can be aligned.
    """
    words, targets = [], []
    for source, references in zip(*train, strict=True):
        for reference in references:
            words.append(source)
            targets.append(split_units(reference, unit))
    joint = " " if unit == "blanks" else ""
    return [joint.join(units) for units in IGTree.fit(words, targets).predict(sources)]


def nearest_targets(
    train: Pairs, sources: Sequence[str], advance: Advance = lambda texts: None
) -> list[str]:
    """The first reference of the most similar training source."""
    found = TrainingPieces.of(train[0]).nearest(sources, advance)
    return [train[1][row][0] for row in found.row]
