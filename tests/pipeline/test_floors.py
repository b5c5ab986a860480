"""Imports go down the floors only, and the book imports nothing of the project."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "scratchformer"
# A module may import from its own room and from rooms with a smaller number.
FLOORS = {
    "base": 0,
    "transformer": 0,
    "runtime": 1,
    "params": 1,
    "record": 1,
    "checkpoints": 2,
    "text": 3,
    "monitoring": 3,
    "tracking": 3,
    "explanation": 4,
    "data": 4,
    "training": 5,
    "pretrained": 5,
    "evaluation": 6,
    "prediction": 6,
    "visualization": 7,
    "stages": 8,
    "search": 9,
    "cli": 10,
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    """Names of the rooms that a module imports, at any depth of nesting."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from .x` stays in its room (a reader may take the book away as a folder).
            assert node.level <= 1, "an import of a parent hides the floor it reaches"
            module = "" if node.level else node.module or ""
            modules = [module]
            if module == "scratchformer":
                modules = [f"scratchformer.{alias.name}" for alias in node.names]
        else:
            continue
        rooms.update(name.split(".")[1] for name in modules if name.startswith("scratchformer."))
    return rooms


def offences(path: Path, source: str) -> list[str]:
    room = room_of(path)
    found = []
    for other in sorted(imported_rooms(source) - {room}):
        if room == "transformer" or FLOORS[other] >= FLOORS[room]:
            found.append(f"{path.relative_to(PACKAGE)} imports {other}")
    return found


MODULES = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__init__.py"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    assert room_of(path) in FLOORS, f"{path} is in no room: add it to the floors"
    assert offences(path, path.read_text(encoding="utf-8")) == []


def test_an_import_upwards_is_found() -> None:
    book = PACKAGE / "transformer" / "attention.py"
    assert offences(book, "from scratchformer.params import Params")
    assert offences(PACKAGE / "data" / "x.py", "import scratchformer.training.loop")
    nested = "def f():\n  from scratchformer import evaluation"
    assert offences(PACKAGE / "training" / "x.py", nested)
    assert not offences(PACKAGE / "stages" / "x.py", "from scratchformer.data import splits")


def folders_that_circle(room: Path) -> list[set[str]]:
    """Pairs of folders or files of a room that import each other."""
    arrows = set()
    name = f"scratchformer.{room.name}."
    for path in room.rglob("*.py"):
        here = path.relative_to(room).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(name):
                arrows.add((here, (node.module or "").removeprefix(name).split(".")[0]))
    return [{a, b} for a, b in arrows if a < b and (b, a) in arrows]


@pytest.mark.parametrize("room", sorted(FLOORS))
def test_no_two_folders_of_a_room_import_each_other(room: str) -> None:
    assert folders_that_circle(PACKAGE / room) == []


def test_a_circle_of_folders_is_found(tmp_path: Path) -> None:
    for here, there in (("live", "mirror"), ("mirror", "live")):
        (tmp_path / "tracking" / here).mkdir(parents=True)
        text = f"def f():\n  from scratchformer.tracking.{there}.x import y"
        (tmp_path / "tracking" / here / "a.py").write_text(text)
    assert folders_that_circle(tmp_path / "tracking") == [{"live", "mirror"}]
