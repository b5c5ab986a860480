"""Reading texts from arguments, pipes and tables, and writing what a model answers beside them.

Rows are read, answered and written batch by batch, so that a file may be larger than the memory.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import write_whole
from scratchformer.prediction.models import Answer, load_predictor

Row = dict[str, Any]
Item = TypeVar("Item")
Write = Callable[[Row, str, list[Answer]], None]


def predict_file(
    model: Path,
    texts: list[str],
    source: Path | None,
    column: str,
    target: Path | None,
    top_k: int,
    beam: int,
    batch_size: int,
    pair_column: str | None = None,
) -> None:
    """Answer `texts`, or the rows of `source`, or the lines of standard input.

    Without `target`, lines `text <tab> answer <tab> probability` are printed; with it, the rows are
    written as they were, with the columns `prediction` and `probability` (a second best answer has
    `prediction_2` and so on). The file is complete or absent.

    A model that reads pairs of texts is given `pair_column` too; elsewhere a tab parts the two.

    Raises:
        ParamsError: both texts and a file, a target of unknown kind.
        DataError: the model or the file cannot be read, or has no such column.
    """
    if texts and source:
        raise ParamsError("give texts or --input, not both")
    if source and not source.is_file():
        raise DataError(f"{source}: not found")
    predictor = load_predictor(model)
    with ExitStack() as stack:
        wanted = [column] if pair_column is None else [column, pair_column]
        rows, columns = _rows(texts, source, wanted, stack)
        write = _writer(target, stack)
        while batch := list(islice(rows, batch_size)):
            asked = ["\t".join(str(row[each]) for each in columns) for row in batch]
            answered = predictor(asked, top_k, beam)
            for row, text, answers in zip(batch, asked, answered, strict=True):
                write(row, text, answers)


def _rows(
    texts: list[str], source: Path | None, columns: list[str], stack: ExitStack
) -> tuple[Iterator[Row], list[str]]:
    """Rows, and the names of the columns that hold the text."""
    if texts:
        return ({"text": text} for text in texts), ["text"]
    if source is None:
        return ({"text": line.rstrip("\n")} for line in sys.stdin), ["text"]
    file = stack.enter_context(source.open(encoding="utf-8-sig", newline=""))
    kind = source.suffix.lower()
    if kind in (".csv", ".tsv"):
        found: Iterable[Row] = csv.DictReader(file, delimiter="\t" if kind == ".tsv" else ",")
    elif kind == ".jsonl":
        found = _json_rows(file, source)
    else:
        return ({"text": line.rstrip("\r\n")} for line in _decoded(file, source)), ["text"]
    return _checked(found, source, columns), columns


def _json_rows(file: TextIO, source: Path) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{source}:{number}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{source}:{number}: expected an object, found {line.strip()[:40]}")
        yield row


def _checked(rows: Iterable[Row], source: Path, columns: list[str]) -> Iterator[Row]:
    for number, row in enumerate(_decoded(rows, source), 1):
        row.pop(None, None)  # type: ignore[call-overload] # csv: fields beyond the header
        if missing := [column for column in columns if row.get(column) is None]:
            names = ", ".join(map(str, row))
            raise DataError(
                f"{source}: row {number} has no {missing[0]!r} but {names}; see --column"
            )
        yield row


def _decoded(items: Iterable[Item], source: Path) -> Iterator[Item]:
    try:
        yield from items
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{source}: not a text file in UTF-8: {error}") from None


def _writer(target: Path | None, stack: ExitStack) -> Write:
    """What is called with every row, its text and its answers."""
    if target is None:
        return _print
    kind = target.suffix.lower()
    if kind not in (".csv", ".tsv", ".jsonl"):
        raise ParamsError(f"--output {target}: expected a name that ends in .csv, .tsv or .jsonl")
    temporary = stack.enter_context(write_whole(target))
    file = stack.enter_context(temporary.open("w", encoding="utf-8", newline=""))
    if kind == ".jsonl":
        return lambda row, text, answers: print(
            json.dumps({**row, **answer_columns(answers)}, ensure_ascii=False), file=file
        )
    made: list[csv.DictWriter[str]] = []

    def write(row: Row, text: str, answers: list[Answer]) -> None:
        full = {**row, **answer_columns(answers)}
        if not made:
            delimiter = "\t" if kind == ".tsv" else ","
            made.append(
                csv.DictWriter(file, list(full), delimiter=delimiter, extrasaction="ignore")
            )
            made[0].writeheader()
        made[0].writerow(full)

    return write


def _print(row: Row, text: str, answers: list[Answer]) -> None:
    for answer in answers:
        print(f"{text}\t{answer.text}\t{answer.probability:.4f}")


def answer_columns(answers: list[Answer]) -> Row:
    """`prediction` and `probability`; a second best answer has `prediction_2` and so on."""
    columns: Row = {}
    for rank, answer in enumerate(answers, 1):
        ending = "" if rank == 1 else f"_{rank}"
        columns[f"prediction{ending}"] = answer.text
        columns[f"probability{ending}"] = round(answer.probability, 6)
    return columns
