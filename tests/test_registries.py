"""Every registry of tasks has an entry for every task; one that lacks some is named here."""

import importlib
import pkgutil

import scratchformer
from scratchformer.base.registry import Registry
from scratchformer.base.tasks import TASKS


def task_registries() -> dict[str, Registry[object]]:
    """All registries of the project whose choice is a task, by `module.NAME`."""
    found: dict[int, tuple[str, Registry[object]]] = {}
    for module in pkgutil.walk_packages(scratchformer.__path__, "scratchformer."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Registry) and value.choice == "task":
                known = found.get(id(value))
                if known is None or len(module.name) < len(known[0].rpartition(".")[0]):
                    found[id(value)] = (f"{module.name}.{name}", value)
    return dict(found.values())


def test_every_room_knows_every_task() -> None:
    registries = task_registries()
    assert "scratchformer.base.tasks.TASKS" in registries
    lacking = {
        place: sorted(TASKS.keys() - registry.keys())
        for place, registry in registries.items()
        if registry.keys() != TASKS.keys()
    }
    assert lacking == {}
