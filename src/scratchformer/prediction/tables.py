"""Reading texts from arguments, pipes and files, and writing what a model answers.

Files are read as in training (`data/sources`) and may be larger than the memory.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path

from scratchformer.base.choices import nearest
from scratchformer.base.errors import DataError, ParamsError
from scratchformer.data.preparation.contract import canonical
from scratchformer.data.sources.formats import FORMATS, format_of
from scratchformer.data.sources.formats.text_lines import STDIN
from scratchformer.data.sources.formats.whole_rows import TEXT, WholeRow
from scratchformer.prediction.answers import Answer
from scratchformer.prediction.batches import SPAN, Asking, answered
from scratchformer.prediction.rows_out import check_target, row_writer
from scratchformer.prediction.shards import Shard, demand_files
from scratchformer.prediction.windows import Long
from scratchformer.runtime.device import DeviceName
from scratchformer.runtime.workers import workers


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
    kind: str | None = None,
    shard: Shard | None = None,
) -> None:
    """Predict for `texts`, or the rows of `source`, or those of standard input.

    The format is `kind`, else what the name of `source` ends in, else lines of text.

    Without `target`, lines `text <tab> prediction <tab> probability` are printed; with it, the rows
    are written as they were, with the columns `prediction` and `probability` (a second best answer
    has `prediction_2` and so on). The file is complete or absent.

    An answer of less probability than `threshold` is withheld: its prediction is empty. A line at
    the end says how many were.

    Of a `shard`, only its rows are read, and written to a file of their own: see shards.py.

    A model that reads pairs of texts is given `pair_column` too; elsewhere a tab parts the two.

    Raises:
        ParamsError: both texts and a file, a target that is a folder or of unknown kind, a format
            that there is not or that standard input cannot have.
        DataError: the model, the file or a row cannot be read, or a column is missing, or would
            be lost in the target.
    """
    if texts and (source or kind):
        raise ParamsError(f"give texts or {'--input' if source else '--format'}, not both")
    kind = kind or (format_of(source.name) if source else None) or "text"
    read = reader_of(kind, source)
    if shard:
        demand_files(source, target)
    if source and not source.is_file():
        raise DataError(f"{source}: {'is a folder' if source.is_dir() else 'not found'}")
    check_target(target)
    asking = Asking(model, device, top_k, beam, long)
    if workers() == 1:
        asking.load()  # before a large file is read for nothing
    is_table = kind != "text"
    columns = [column if is_table else TEXT, *([pair_column] if is_table and pair_column else [])]
    span = SPAN if source else 1  # who types or pipes waits for a batch and no longer
    with ExitStack() as stack:
        rows = _rows(texts) if texts else read(source or STDIN)
        names = [TEXT]
        if source or is_table:
            first = next(rows, None)
            if first is None:
                raise DataError(f"{source or STDIN}: no rows")
            # Standard input cannot be read twice.
            uniform = FORMATS[kind].uniform or source is None
            names = first.names if uniform else _all_names(read(source or STDIN))
            rows = chain([first], rows)
            if shard and source:
                rows = shard.cut(rows, read(source), span * batch_size)
        part = shard.path(target) if shard and target else target
        write = row_writer(part, names, stack, header=not shard or shard.number == 1)
        asked_for, withheld = 0, 0
        asked = ((row, [_text(row, each) for each in columns]) for row in rows)
        for row, pair, answers in answered(asking, asked, batch_size, span):
            text = pair[0] if len(pair) == 1 else "\t".join(map(canonical, pair))
            shown = [_or_silence(answer, threshold) for answer in answers]
            withheld += shown[0] != answers[0]
            write(row, text, shown)
            asked_for += 1
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


def reader_of(kind: str, source: Path | None) -> Callable[[Path], Iterator[WholeRow]]:
    """What reads whole rows of a format.

    Raises:
        ParamsError: there is no such format, or `source` is None and it cannot be piped.
    """
    can = {name: each for name, each in FORMATS.items() if each.whole and (source or each.piped)}
    read = FORMATS[kind].whole
    if read is None or kind not in can:
        where = "" if source else " from standard input; save it to a file and give its --input"
        raise ParamsError(f"--format {kind}: cannot be read{where} (can be: {', '.join(can)})")
    return read


def _rows(texts: list[str]) -> Iterator[WholeRow]:
    return (WholeRow(f"text {n}", [TEXT], [text]) for n, text in enumerate(texts, 1))


def _all_names(rows: Iterator[WholeRow]) -> list[str]:
    """The columns of all rows, in the order in which they first occur: objects may differ."""
    names: dict[str, None] = {}
    for row in rows:
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
