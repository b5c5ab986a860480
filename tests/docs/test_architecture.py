"""docs/architecture.md names the rooms and floors that there are, and files that exist."""

import ast
import re
from pathlib import Path

from chapters import DOCS, ROOT

PACKAGE = ROOT / "src" / "scratchformer"
TEXT = (DOCS / "architecture.md").read_text(encoding="utf-8")
CHANGES = TEXT.partition("## The ten commonest changes")[2].partition("\n## ")[0]
FILE = re.compile(r"`([\w/]+\.(?:py|jinja))`")


def floors() -> dict[str, int]:
    """The list that tests/pipeline/test_floors.py checks every import against."""
    source = (ROOT / "tests" / "pipeline" / "test_floors.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and target.id == "FLOORS" and node.value:
                found: dict[str, int] = ast.literal_eval(node.value)
                return found
    raise AssertionError("FLOORS is not where it was")


def rooms() -> set[str]:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return folders | {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}


def changes() -> dict[str, list[str]]:
    """The rows of the table of changes: the change, and the files that it names."""
    rows = [line.split("|")[1:-1] for line in CHANGES.splitlines() if line.startswith("| ")]
    return {row[0].strip(): FILE.findall(row[1]) for row in rows[1:]}


def test_the_tree_shows_every_room() -> None:
    assert set(re.findall(r"^  (\w+)(?:/|\.py) ", TEXT, re.M)) == rooms()


def test_the_map_of_the_readme_has_every_room() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The map")[2]
    left = "".join(re.findall(r"^\| (`src/scratchformer/.*?) \|", table, re.M))
    shown = re.findall(r"`(?:src/scratchformer/)?(\w+)(?:/|\.py)`", left)
    assert sorted(shown) == sorted(rooms())


def test_the_floors_are_those_that_are_checked() -> None:
    table = TEXT.partition("## The floors")[2].partition("\n## ")[0]
    shown = {
        room: int(floor)
        for floor, names in re.findall(r"^\| (\d+) \| (.+) \|$", table, re.M)
        for room in re.findall(r"`(\w+)`", names)
    }
    assert shown == floors()
    assert shown.keys() == rooms()


def test_no_change_touches_more_files_than_is_said() -> None:
    """Five at most, a metric or a plot two; those that are not marked as new exist."""
    table = changes()
    assert len(table) == 10
    for change, files in table.items():
        assert 1 <= len(files) <= (2 if change in ("a metric", "a plot") else 5), change
    counts = re.findall(r"\| (\d+) \|$", CHANGES, re.M)
    assert [int(count) for count in counts] == [len(files) for files in table.values()]
    for line in TEXT.splitlines():
        for file in FILE.findall(line):
            new = f"new `{file}`" in line
            assert new or any((root / file).is_file() for root in (PACKAGE, ROOT)), file
            assert not (new and (PACKAGE / file).exists()), f"{file} is there already"


def test_the_paths_of_the_ways_exist() -> None:
    for folder in re.findall(r"`([\w]+/[\w/]*/?)`", TEXT):
        assert any(Path(root, folder).exists() for root in (PACKAGE, ROOT)) or folder.startswith(
            ("data/", "reports/", "models/")
        ), folder
