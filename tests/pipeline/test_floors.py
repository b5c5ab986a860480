"""Imports go down the floors only, and the book imports nothing of the project."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "scratchformer"
GROUND = ("errors", "files", "layout", "params", "processes", "terminal", "workspace")
# A module may import from its own room and from rooms with a smaller number.
FLOORS = {
    **dict.fromkeys(GROUND, 0),
    "transformer": 0,
    "data": 1,
    "tokenization": 1,
    "training": 2,
    "pretrained": 2,
    "evaluation": 3,
    "visualization": 4,
    "dvc_record": 1,
    "presets": 1,
    "integrity": 2,
    "seeds": 2,
    "prediction": 4,
    "tracking": 4,
    "stages": 5,
    "cli": 6,
}
# tokenize reads the tokenizer of the pretrained model, which a stage hands down; the two rooms of
# the second floor share one checkpoint format, which lives in training.
SAME_FLOOR_ALLOWED = {
    ("pretrained", "training"),
    ("pretrained", "transformer"),
    ("data", "tokenization"),
    ("tokenization", "data"),
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
        ground_to_ground = room in GROUND and other in GROUND
        allowed = FLOORS[other] < FLOORS[room] or (room, other) in SAME_FLOOR_ALLOWED
        if room == "transformer" or not (allowed or ground_to_ground):
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
    assert offences(PACKAGE / "training" / "x.py", "def f():\n  from scratchformer import tracking")
    assert not offences(PACKAGE / "stages" / "x.py", "from scratchformer.data import splits")
