"""ICD-10-CM, the diagnosis codes used in the United States: description → chapter.

The chapters differ in size by four orders of magnitude (injuries alone hold more than half of the
codes), so each is capped at random. Codes of one three-character category read almost alike
("... left hand", "... right hand"): the category is the group that a split keeps together.
"""

import importlib.metadata
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from scratchformer.base.errors import ParamsError
from scratchformer.base.tasks import CLASSIFICATION, TaskName
from scratchformer.data.preparation.digests import digest, normalised
from scratchformer.data.preparation.rows import BadRow, Corpus, RawRow
from scratchformer.params import PackageSource

MIN_CATEGORIES = 10
"""A chapter with fewer categories cannot be in train, valid and test at once; it is left out."""


def open_icd10cm(source: PackageSource, task: TaskName, seed: int) -> Corpus:
    """One row a code: its description, its chapter ("01" … "21") and its category as the group."""
    if task != CLASSIFICATION.name:
        raise ParamsError(f"source icd10cm is for the task classification, not {task}")
    rows, names, notes = _select(source.max_per_label, seed)
    return Corpus(
        name="icd10cm",
        description="ICD-10-CM diagnosis description to chapter",
        origin=f"package simple-icd-10-cm {importlib.metadata.version('simple-icd-10-cm')}",
        licence="public domain data of the CDC, in a package under MIT",
        task=task,
        splits={"train": lambda: iter(rows)},
        grouped=True,
        label_names=names,
        notes=notes,
    )


def _select(
    max_per_label: int | None, seed: int
) -> tuple[list[RawRow | BadRow], dict[str, str], dict[str, Any]]:
    """The rows kept, the titles of the chapters, and what was left out."""
    chapters: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    names: dict[str, str] = {}
    seen: set[str] = set()
    total = duplicates = 0
    for chapter, title, category, code, description in _codes():
        total += 1
        names[chapter] = title
        key = normalised(description)
        if key in seen:
            duplicates += 1
            continue
        seen.add(key)
        chapters[chapter].append((code, category, description))

    rows: list[RawRow | BadRow] = []
    too_small = {}
    for chapter, codes in chapters.items():
        if len({category for _, category, _ in codes}) < MIN_CATEGORIES:
            too_small[chapter] = len(codes)
            continue
        drawn = sorted(codes, key=lambda entry: digest(f"{seed}/{entry[0]}"))[:max_per_label]
        rows += [
            RawRow({"id": code, "text": text, "label": chapter, "group": category}, "icd10cm", line)
            for line, (code, category, text) in enumerate(sorted(drawn), len(rows) + 1)
        ]
    notes = {
        "codes": total,
        "duplicate_descriptions": duplicates,
        "above_max_per_label": total - duplicates - sum(too_small.values()) - len(rows),
        "chapters_too_small": too_small,
    }
    return rows, {name: title for name, title in names.items() if name not in too_small}, notes


def _codes() -> Iterator[tuple[str, str, str, str, str]]:
    """Chapter, its title, category, code and description of every diagnosis."""
    import simple_icd_10_cm as icd

    chapter = title = category = ""
    for code in icd.get_all_codes(True):  # in the order of the book: parents before children
        description = icd.get_description(code)
        if icd.is_chapter(code):
            chapter, title = f"{int(code):02}", description.rpartition(" (")[0]
        elif not icd.is_chapter_or_block(code):
            category = code if icd.is_category(code) else category
            yield chapter, title, category, code, description
