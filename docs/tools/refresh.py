"""Write into the pages what follows from other files: `python docs/tools/refresh.py`.

The tables of measurements of the chapters come from docs/experiments, the table of topics of
docs/index.md from the chapters, the registries of docs/architecture.md from the source. A test
keeps pages and sources equal.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from chapters import DOCS, ROOT, TOPICS, Chapter, chapters, fill
from experiments import complete_code, load_experiment, load_results, table
from tuned import load_tuned, tuned_table, tuning_table

from scratchformer.base.files import write_whole

INDEX = DOCS / "index.md"
ARCHITECTURE = DOCS / "architecture.md"
PACKAGE = ROOT / "src" / "scratchformer"
TUNING_CHAPTER = 19


def topics_table(written: list[Chapter]) -> str:
    """One row a topic: where its chapter, code, figure, test and experiment are."""
    by_number = {chapter.number: chapter for chapter in written}
    lines = ["| | Topic | Code | Figure | Test | Experiment |", "|---:|---|---|---|---|---|"]
    for number, topic in enumerate(TOPICS, start=1):
        chapter = by_number.get(number)
        if chapter is None:
            lines.append(f"| {number} | {topic} | | | | |")
            continue
        paths = dict.fromkeys(path for path, _ in chapter.quotes)
        code = ", ".join(f"[{Path(path).name}](../{path})" for path in paths)
        path, test = chapter.nodes[0]
        settings = dict.fromkeys(setting.partition("=")[0] for setting in chapter.settings)
        cells = [
            f"[{topic}](chapters/{chapter.path.name})",
            code,
            f"[picture](images/{chapter.image.name})",
            f"[{test}](../{path})",
            "<br>".join(f"`{_short(setting)}`" for setting in settings),
        ]
        lines.append(f"| {number} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(setting: str) -> str:
    """The last word of a key; of a `kind` also what it is the kind of."""
    words = setting.split(".")
    return ".".join(words[-2:] if words[-1] == "kind" else words[-1:])


def task_registries() -> Iterator[str]:
    """One row for each `NAME = Registry("task", …)` of the source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.Assign | ast.AnnAssign):
                continue
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            match node.value:
                case ast.Call(args=[ast.Constant(value="task"), *_]) if isinstance(
                    target, ast.Name
                ):
                    yield f"| {target.id} | `{path.relative_to(PACKAGE).as_posix()}` |"


def refreshed() -> dict[Path, str]:
    """Every page that has something to fill in, as it should read."""
    written, results = chapters(), load_results()
    pages = {INDEX: fill(INDEX.read_text(encoding="utf-8"), "topics", topics_table(written))}
    page = ARCHITECTURE.read_text(encoding="utf-8")
    pages[ARCHITECTURE] = fill(page, "task-registries", "\n".join(task_registries()))
    for chapter in written:
        experiment = load_experiment(chapter.experiment)
        if complete_code(experiment, results) is None:
            measured = f"Not measured yet: `python docs/tools/experiments.py {chapter.number:02}`."
        else:
            measured = table(experiment, results)
        pages[chapter.path] = fill(chapter.text, "measured", measured)
    tuned, by_number = load_tuned(), {chapter.number: chapter.path for chapter in written}
    for name, comparison in tuned.tables.items():
        path = by_number[comparison.chapter]
        pages[path] = fill(pages[path], name, tuned_table(comparison, tuned, results))
    path = by_number[TUNING_CHAPTER]
    pages[path] = fill(pages[path], "tuning", tuning_table(tuned, results))
    return pages


def main() -> None:
    for path, text in refreshed().items():
        if path.read_text(encoding="utf-8") != text:
            with write_whole(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            print(path.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
