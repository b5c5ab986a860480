"""The parameters that dvc.yaml declares for a stage, and no others.

DVC reruns a stage when a declared parameter changes. A stage that reads another one would go on
showing the result of its old value, so reading it is an error, not a habit that a test may miss.
"""

from collections.abc import Collection
from typing import Any, cast

from pydantic import BaseModel

from scratchformer.base.errors import ParamsError
from scratchformer.params.schema import Params


def only_declared(params: Params, stage: str, names: Collection[str]) -> Params:
    """A view of `params` that has the dotted `names` and what is below them.

    A whole section that is declared is the section itself. Of one that is declared in part only
    these keys can be read, and nothing that needs all of it (`model_dump`, a comparison).
    """
    return cast(Params, _View(params, stage, frozenset(names), ""))


class _View:
    """A section of which only some keys may be read."""

    __slots__ = ("_above", "_names", "_section", "_stage")

    def __init__(self, section: BaseModel, stage: str, names: frozenset[str], above: str) -> None:
        self._section = section
        self._stage = stage
        self._names = names
        self._above = above

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):  # what copying and printing ask every object for
            raise AttributeError(key)
        name = f"{self._above}{key}"
        if name in self._names:
            return getattr(self._section, key)
        if any(declared.startswith(f"{name}.") for declared in self._names):
            return _View(getattr(self._section, key), self._stage, self._names, f"{name}.")
        raise ParamsError(
            f"dvc.yaml: stages.{self._stage}.params: {name} is not declared, but the stage reads "
            "it; add it there, so that DVC runs the stage again when it changes"
        )
