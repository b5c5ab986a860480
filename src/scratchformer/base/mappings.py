"""Names of values: of nested mappings, and of the curves of a training."""

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings with their dotted names; a list is a leaf."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values


def curve_name(curve: str, column: str) -> str:
    """What a column of `<curve>.csv` is called in MLflow, which groups its charts by what stands
    before the slash: `train/loss`."""
    return f"{curve}/{column}"
