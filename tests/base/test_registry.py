"""Registries: a name that is not there is an error that offers the nearest."""

import pytest

from scratchformer.base.errors import ParamsError
from scratchformer.base.registry import Registry
from scratchformer.base.tasks import TASKS


def test_a_registry_gives_its_entries_in_order() -> None:
    colours = Registry("colour", {"red": 1, "green": 2})
    assert list(colours) == ["red", "green"] and len(colours) == 2
    assert colours["green"] == 2 and "red" in colours and "blue" not in colours


def test_an_unknown_name_is_an_error_and_never_the_last_entry() -> None:
    with pytest.raises(ParamsError, match="unknown task 'clasification'; did you mean classific"):
        TASKS["clasification"]
