"""Reading texts from arguments, pipes and files, and handing them to a model batch by batch.

Files are read as in training (`data/sources`) and may be larger than the memory.
"""

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from scratchformer.base.choices import nearest
from scratchformer.base.errors import DataError, ParamsError
from scratchformer.data.preparation.contract import canonical
from scratchformer.data.sources.formats import format_of
from scratchformer.data.sources.whole_rows import TEXT, WholeRow, read_whole_rows
from scratchformer.prediction.answers import Answer
from scratchformer.prediction.models import load_predictor
from scratchformer.prediction.rows_out import check_target, row_writer
from scratchformer.prediction.windows import Long
from scratchformer.runtime.device import DeviceName


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
    threshold: float = 0.0,
    long: Long = "cut",
    device: DeviceName = "auto",
) -> None:
    """Predict for `texts`, or the rows of `source`, or the lines of standard input.

    Without `target`, lines `text <tab> prediction <tab> probability` are printed; with it, the rows
    are written as they were, with the columns `prediction` and `probability` (a second best answer
    has `prediction_2` and so on). The file is complete or absent.

    An answer of less probability than `threshold` is withheld: its prediction is empty. How many
    were is told at the end.

    A model that reads pairs of texts is given `pair_column` too; elsewhere a tab parts the two.

    Raises:
        ParamsError: both texts and a file, a target that is a folder or of unknown kind.
        DataError: the model, the file or a row cannot be read, or a column is missing, or would
            be lost in the target.
    """
    if texts and source:
        raise ParamsError("give texts or --input, not both")
    if source and not source.is_file():
        raise DataError(f"{source}: {'is a folder' if source.is_dir() else 'not found'}")
    check_target(target)
    predictor = load_predictor(model, device)
    is_table = source is not None and format_of(source.name) is not None
    columns = [column if is_table else TEXT, *([pair_column] if is_table and pair_column else [])]
    with ExitStack() as stack:
        rows = _rows(texts, source)
        if source is not None:
            first = next(rows, None)
            if first is None:
                raise DataError(f"{source}: no rows")
            names = _all_names(source) if format_of(source.name) == "jsonl" else first.names
            rows = chain([first], rows)
        else:
            names = [TEXT]
        write = row_writer(target, names, stack)
        asked_for, withheld = 0, 0
        while batch := list(islice(rows, batch_size)):
            asked, *second = ([_text(row, each) for row in batch] for each in columns)
            answered = predictor(asked, top_k, beam, long, *second)
            for row, *pair, answers in zip(batch, asked, *second, answered, strict=True):
                text = "\t".join(map(canonical, pair)) if second else pair[0]
                shown = [_or_silence(answer, threshold) for answer in answers]
                withheld += shown[0] != answers[0]
                write(row, text, shown)
            asked_for += len(batch)
    if threshold:
        print(
            f"{withheld:,} of {asked_for:,} texts have no answer of probability {threshold:g} or "
            "more",
            file=sys.stderr,
        )


def _or_silence(answer: Answer, threshold: float) -> Answer:
    """The answer, or an empty one with the same probability."""
    if answer.probability >= threshold:
        return answer
    return replace(answer, text="", description=None if answer.description is None else "")


def _rows(texts: list[str], source: Path | None) -> Iterator[WholeRow]:
    if texts:
        return (WholeRow(f"text {n}", [TEXT], [text]) for n, text in enumerate(texts, 1))
    if source is not None:
        return read_whole_rows(source)
    if isinstance(sys.stdin, io.TextIOWrapper):
        # Bytes that are not UTF-8 become lone surrogates, as in files; `_text` finds them.
        sys.stdin.reconfigure(errors="surrogateescape", newline="\n")
    return (
        WholeRow(f"stdin:{n}", [TEXT], [line.rstrip("\r\n")]) for n, line in enumerate(sys.stdin, 1)
    )


def _all_names(source: Path) -> list[str]:
    """The columns of all rows, in the order in which they first occur: objects may differ."""
    names: dict[str, None] = {}
    for row in read_whole_rows(source):
        names.update(dict.fromkeys(row.names))
    return list(names)


def _text(row: WholeRow, column: str) -> str:
    """The text in a column of a row.

    Raises:
        DataError: there is none.
    """
    names = [name.strip() for name in row.names]
    if names.count(column) != 1:
        if column in names:
            raise DataError(f"{row.place}: two columns are called {column!r}")
        match = nearest(column, names)
        hint = f"did you mean {match!r}? " if match else ""
        shown = ", ".join(map(repr, names[:20]))
        raise DataError(f"{row.place}: no column {column!r}; {hint}columns: {shown}; see --column")
    value = row.values[names.index(column)]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = "missing" if value is None else f"of type {type(value).__name__}"
        raise DataError(f"{row.place}: `{column}` is {kind}; expected text")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{row.place}: `{column}` is not valid UTF-8 (character {error.start + 1})"
        ) from None
    return text
