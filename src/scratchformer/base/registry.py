"""Named choices: one object a name, and a clear error for every other name.

A room that treats tasks (or sources, optimizers, …) differently has one file for each and one
registry that lists them. No other code asks which one it is: it takes the entry and calls it.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from scratchformer.base.choices import did_you_mean
from scratchformer.base.errors import ParamsError

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry]):
    """An immutable mapping from names to what they stand for.

    Args:
        choice: what a name chooses, as a person would say it: "task", "optimizer".
        entries: one for each valid name.
    """

    def __init__(self, choice: str, entries: Mapping[str, Entry]) -> None:
        self.choice = choice
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            ParamsError: there is none; the message offers the nearest.
        """
        if name not in self._entries:
            hint = did_you_mean(name, list(self._entries))
            raise ParamsError(f"unknown {self.choice} {name!r}; {hint}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # Mapping asks __getitem__ for a KeyError

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
