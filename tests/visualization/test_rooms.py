"""Numbers, pictures and pages stay apart: analysis < plots < report."""

import ast
from pathlib import Path

ROOM = Path(__file__).parents[2] / "src" / "scratchformer" / "visualization"
ORDER = ("analysis", "plots", "report")


def imports(path: Path) -> set[str]:
    """The rooms of visualization, and the libraries, that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            inside = name.removeprefix("scratchformer.visualization.")
            found.add(inside.split(".")[0] if inside != name else name.split(".")[0])
    return found


def test_nothing_is_computed_for_a_picture_above_the_analysis() -> None:
    for place, room in enumerate(ORDER):
        for path in sorted((ROOM / room).rglob("*.py")):
            above = imports(path) & set(ORDER[place + 1 :])
            assert not above, f"{path.relative_to(ROOM)} imports {above}"


def test_only_plots_draw() -> None:
    drawing = {
        path.relative_to(ROOM).as_posix()
        for path in ROOM.rglob("*.py")
        if path.relative_to(ROOM).parts[0] != "plots" and "matplotlib" in imports(path)
    }
    # A page holds figures, and asks where their points are.
    assert drawing == {"report/page/items.py", "report/page/hover.py"}
