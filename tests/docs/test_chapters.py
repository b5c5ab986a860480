"""Every chapter has its parts, and what it says of the code, the tests and the runs is so."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from chapters import DOCS, ROOT, SECTIONS, TOPICS, Chapter, chapters
from experiments import load_experiment, load_results
from refresh import refreshed
from tests.committed import DEFAULT_PARAMS
from tuned import RATE, load_tuned

from scratchformer.params import parse_params, read_yaml
from scratchformer.params.presets import merged

CHAPTERS = chapters()
PAGES = sorted(DOCS.rglob("*.md"))


@pytest.fixture(params=CHAPTERS, ids=lambda chapter: chapter.name)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    written: Chapter = request.param
    return written


def test_the_chapters_are_the_twenty_topics() -> None:
    assert [chapter.number for chapter in CHAPTERS] == list(range(1, len(TOPICS) + 1))


def test_a_chapter_has_its_parts_in_order(chapter: Chapter) -> None:
    assert chapter.text.startswith(f"# {chapter.number}. {chapter.topic}\n")
    assert tuple(chapter.sections) == ("", *SECTIONS)
    assert chapter.sections["The equation"].count("$$") >= 2
    assert "Source: " in chapter.sections["The equation"]
    assert f"(../images/{chapter.image.name})" in chapter.sections["The picture"]
    assert f"(../figures/{chapter.figure.name})" in chapter.sections["The picture"]
    assert "```python\n" in chapter.sections["Try it"]
    assert chapter.quotes and all(
        block in chapter.sections["Our lines"] for _, block in chapter.quotes
    )


def test_quoted_code_is_the_code(chapter: Chapter) -> None:
    """Whole lines of the file, as they stand there; and the file is linked."""
    for path, code in chapter.quotes:
        assert f"\n{code}" in (ROOT / path).read_text(encoding="utf-8"), (path, code)
        assert f"](../../{path})" in chapter.sections["Our lines"], f"no link to {path}"


def test_named_tests_exist(chapter: Chapter) -> None:
    assert any(f"`{path}::{test}`" in chapter.sections["The proof"] for path, test in chapter.nodes)
    for path, test in chapter.nodes:
        assert test in test_names(ROOT / path), f"{path}::{test}"


def test_names(path: Path) -> set[str]:
    """The node ids of a test file, without its path and without parameters."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}::{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
            }
    return {name for name in names if name.rpartition("::")[2].startswith("test_")}


test_names.__test__ = False  # type: ignore[attr-defined]


def test_the_experiment_is_the_one_that_was_measured(chapter: Chapter) -> None:
    """Every setting in the text was measured, and is one that the parameters have."""
    experiment = load_experiment(chapter.experiment)
    arms = (*experiment.arms, *load_tuned().arms.values())
    measured = {setting for arm in arms for setting in arm.settings}
    runs = {word for key in load_results() for word in key[1].split(" ")}
    measured |= {word for word in runs if word.startswith(RATE)}  # tuned rates are found, not set
    assert chapter.settings and set(chapter.settings) <= measured
    assert f"{experiment.target}\n```" in chapter.sections["The experiment"]
    for arm in experiment.arms:
        parse_params(with_settings(arm.settings), chapter.experiment)


def with_settings(settings: tuple[str, ...]) -> Any:
    """params.yaml with the preset `lesson`, and on top what `-S` sets."""
    document = merged(read_yaml(DEFAULT_PARAMS), read_yaml(ROOT / "presets" / "lesson.yaml"))
    for setting in settings:
        key, _, value = setting.partition("=")
        *folders, name = key.split(".")
        node = document
        for folder in folders:
            node = node[folder]
        assert name in node, setting
        node[name] = yaml.safe_load(value)
    return document


def test_the_seeded_bugs_are_counted() -> None:
    """Chapter 20 says how many there are."""
    counts = [
        len(tomllib.loads((ROOT / "tests" / path).read_text(encoding="utf-8"))["bug"])
        for path in ("training/gates/gate_bugs.toml", "transformer/book/bugs.toml")
    ]
    told = r"(\d+) for the gates and (\d+) for the tests of the model"
    found = re.search(told, CHAPTERS[19].text)
    assert found and [int(number) for number in found.groups()] == counts


def test_pages_hold_what_follows_from_other_files() -> None:
    """`python docs/tools/refresh.py` would change nothing."""
    for path, text in refreshed().items():
        assert path.read_text(encoding="utf-8") == text, path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """On a code host, where pages are read as plain Markdown (mkdocs checks the site's own)."""
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("https://", "http://")):
            assert (page.parent / target).exists(), target
