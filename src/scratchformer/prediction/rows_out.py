"""Writing rows and their predictions: printed, or as CSV, TSV or JSON lines, also gzipped.

Nothing that came in is lost: what a format cannot hold is an error that names the row, and the
file is complete or absent.
"""

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import write_whole
from scratchformer.base.terminal import visible
from scratchformer.data.sources.formats import FORMATS, format_of
from scratchformer.data.sources.formats.whole_rows import WholeRow
from scratchformer.prediction.answers import Answer

Write = Callable[[WholeRow, str, list[Answer]], None]


def check_target(target: Path | None) -> None:
    """Demand a name that can be written, before a model is loaded.

    Raises:
        ParamsError: it is a folder, or its ending stands for no format.
    """
    if target is None:
        return
    if target.is_dir():
        raise ParamsError(f"--output {target}: is a folder; name a file in it")
    kind = format_of(target.name)
    if kind is None or not FORMATS[kind].written:
        raise ParamsError(
            f"--output {target}: expected a name that ends in .csv, .tsv, .jsonl or .ndjson "
            "(.gz may follow)"
        )


def row_writer(
    target: Path | None, names: Sequence[str], stack: ExitStack, header: bool = True
) -> Write:
    """What is called with every row, its text and its predictions.

    Args:
        target: the file; None prints `text <tab> prediction <tab> probability`, and
            the description of a label before its probability.
        names: all columns that occur in the rows; CSV and TSV have them in their header.
        stack: closes the file and puts it in its place, unless an exception passes.
        header: whether CSV and TSV begin with the names.
    """
    if target is None:
        return _print
    kind = format_of(target.name)
    file = _open(target, stack)
    if kind == "jsonl":
        return lambda row, text, answers: _write_json(file, row, answers)
    put = csv.writer(file).writerow if kind == "csv" else _tabs(file)
    columns: list[str] = []

    def write(row: WholeRow, text: str, answers: list[Answer]) -> None:
        added = _added(row.names, answers, row.place)
        if not columns:
            columns.extend([*names, *added])
            _demand_free(names, added, row.place)
            if header:
                _guarded(row.place, put, columns)
        values = row.values
        if row.names != names:
            given = dict(zip(row.names, row.values, strict=True))
            if more := [name for name in row.names if name not in names]:
                raise DataError(
                    f"{row.place}: the first row has no {more[0]!r}; write .jsonl, or give a file "
                    "as --input"
                )
            values = [given.get(name) for name in names]
        _guarded(row.place, put, [*map(_cell, values), *map(str, added.values())])

    return write


def answer_columns(answers: list[Answer]) -> dict[str, Any]:
    """`prediction`, `description` where labels have one, and `probability`; a second best answer
    has `prediction_2` and so on."""
    columns: dict[str, Any] = {}
    for rank, answer in enumerate(answers, 1):
        ending = "" if rank == 1 else f"_{rank}"
        columns[f"prediction{ending}"] = answer.text
        if answer.description is not None:
            columns[f"description{ending}"] = answer.description
        columns[f"probability{ending}"] = round(answer.probability, 6)
    return columns


def _print(row: WholeRow, text: str, answers: list[Answer]) -> None:
    for answer in answers:
        description = [] if answer.description is None else [answer.description]
        words = [*text.split("\t"), answer.text, *description]
        if sys.stdout.isatty():  # control characters of a row are no commands to the terminal
            words = [visible(word) for word in words]
        print(*words, f"{answer.probability:.4f}", sep="\t")


def _open(target: Path, stack: ExitStack) -> TextIO:
    """The file that becomes `target`. Bytes that are not UTF-8 go out as they came in."""
    try:
        temporary = stack.enter_context(write_whole(target))
    except OSError as error:
        raise ParamsError(f"--output {target}: {error.strerror or error}") from None
    raw: Any = stack.enter_context(temporary.open("wb"))
    if target.name.lower().endswith(".gz"):
        raw = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
    return stack.enter_context(
        io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
    )


def _write_json(file: TextIO, row: WholeRow, answers: list[Answer]) -> None:
    added = _added(row.names, answers, row.place)
    if twice := [name for name in row.names if row.names.count(name) > 1]:
        raise DataError(f"{row.place}: two columns are called {twice[0]!r}; write .csv instead")
    whole = dict(zip(row.names, row.values, strict=True)) | added
    line = json.dumps(whole, ensure_ascii=False, default=str)
    if not _is_unicode(line):
        line = json.dumps(whole, default=str)  # a lone surrogate has a name in ASCII: \ud83d
    file.write(line + "\n")


def _added(names: Sequence[str], answers: list[Answer], place: str) -> dict[str, Any]:
    added = answer_columns(answers)
    _demand_free(names, added, place)
    return added


def _demand_free(names: Sequence[str], added: dict[str, Any], place: str) -> None:
    if taken := [name for name in added if name in names]:
        raise DataError(
            f"{place}: there is a column {taken[0]!r} already, which would be lost; rename it"
        )


def _tabs(file: TextIO) -> Callable[[list[str]], object]:
    def put(fields: list[str]) -> None:
        for field in fields:
            if "\t" in field or "\n" in field or "\r" in field:
                raise ValueError(f"a tab or line break in {field[:40]!r}; write .csv or .jsonl")
        file.write("\t".join(fields) + "\n")

    return put


def _guarded(place: str, put: Callable[[list[str]], object], fields: list[str]) -> None:
    try:
        put(fields)
    except UnicodeEncodeError:
        raise DataError(f"{place}: a lone surrogate is not text; write .jsonl instead") from None
    except ValueError as error:
        raise DataError(f"{place}: {error}") from None


def _cell(value: Any) -> str:
    """A value as a field of CSV: text as it is, everything else as JSON has it, null as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
