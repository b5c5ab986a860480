"""Finding the columns that params.yaml names."""

from collections.abc import Mapping, Sequence

from scratchformer.base.choices import nearest
from scratchformer.base.errors import DataError


def demand_columns(place: str, wanted: Mapping[str, str], present: Sequence[str]) -> None:
    """Check that every wanted column is there.

    Raises:
        DataError: one is not; the message names the nearest.
    """
    for field, column in wanted.items():
        if column in present:
            continue
        match = nearest(column, present)
        shown = ", ".join(map(repr, present[:20]))
        hint = f"did you mean {match!r}? " if match else ""
        raise DataError(
            f"{place}: no column {column!r} (source.columns.{field}); {hint}columns: {shown}"
        )
