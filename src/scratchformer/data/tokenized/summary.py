"""The counts of a tokenized track in words, for the summary that ends the stage."""

from collections.abc import Mapping
from typing import Any

from scratchformer.base.layout import TrackName

MUCH_UNKNOWN = 0.05  # share of the tokens
MUCH_CUT = 0.1  # share of the texts


def describe_track(track: TrackName, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A line for each side, by the figures of the training split; what is unknown also by those
    of the validation split, which the vocabulary was not learned from."""
    lines = [(str(track), "")]
    for side, figures in report["splits"]["train"].items():
        unseen = report["splits"]["valid"][side]
        lines.append((
            f"  {side}",
            f"{report[f'{side}_vocab_size']:,} tokens in the vocabulary; unknown: "
            f"{figures['unknown_rate']:.2%} of train, {unseen['unknown_rate']:.2%} of valid; "
            f"median length {figures['lengths']['median']}, {figures['truncated_share']:.2%} cut",
        ))
    return lines


def warn_of_track(track: TrackName, report: Mapping[str, Any]) -> list[str]:
    """What a person should look at before a training."""
    warnings = []
    for side, figures in report["splits"]["valid"].items():
        if figures["unknown_rate"] > MUCH_UNKNOWN:
            warnings.append(
                f"{track}: {figures['unknown_rate']:.0%} of the {side} tokens of valid are not in "
                "the vocabulary; choose bpe or character as the algorithm, or a larger vocab_size"
            )
        if figures["truncated_share"] > MUCH_CUT:
            warnings.append(
                f"{track}: {figures['truncated_share']:.0%} of the {side} texts of valid are cut "
                f"to {report[f'max_{side}_length']} tokens; raise the length to read all of them"
            )
    return warnings
