"""A person's own files: CSV, TSV, JSON lines, Parquet and parallel plain text, also gzipped.

Read one row at a time, so memory stays flat however large the file is. A row that cannot be read
is reported with its line; a file that cannot be read, or lacks a column, ends the stage.
"""

from functools import partial
from pathlib import Path
from typing import get_args

from scratchformer.base.errors import ParamsError
from scratchformer.base.layout import SPLITS, SplitName
from scratchformer.base.tasks import TASKS, TaskName
from scratchformer.data.preparation.rows import Corpus, SplitReader
from scratchformer.data.sources.formats import FORMATS, format_of, parallel_text
from scratchformer.params import FileFormat, FilesSource, HubSource


def open_files(source: FilesSource, task: TaskName) -> Corpus:
    """One reader for each split whose file is named.

    Raises:
        ParamsError: the format cannot be guessed, or a key does not fit the format or the task.
    """
    files = {split: path for split in SPLITS if (path := getattr(source, split))}
    columns = wanted_columns(source, task)
    splits: dict[SplitName, SplitReader] = {}
    for split, path in files.items():
        kind = source.format or _guess(path)
        target = getattr(source, f"{split}_target")
        if (kind == "parallel_text") != (target is not None):
            raise ParamsError(
                f"source.{split}_target: "
                + ("the file of the other language is missing" if target is None
                   else f"only for format parallel_text, found {kind}")
            )
        if kind == "parallel_text" and TASKS[task].labelled:
            raise ParamsError(f"source.format: parallel_text is for the task seq2seq, not {task}")
        if target is not None:
            splits[split] = partial(parallel_text.read, Path(path), Path(target))
        elif reader := FORMATS[kind].columns:
            splits[split] = partial(reader(source.header), Path(path), columns)
    return Corpus(
        name="files",
        description="the files of params.yaml",
        origin=", ".join(files.values()),
        licence="not stated",
        task=task,
        splits=splits,
        pairs=TASKS[task].pair_field in columns,
        grouped="group" in columns,
        merge_references=source.merge_references and not TASKS[task].labelled,
        label_names=source.label_names,
    )


def wanted_columns(source: FilesSource | HubSource, name: TaskName) -> dict[str, str]:
    """Canonical field → column. Input and target are always read, the others only when named.

    Raises:
        ParamsError: a field of the other task is named.
    """
    task = TASKS[name]
    required = [task.input_field, task.answer_field]
    wanted = ["id", "group", *([task.pair_field] if task.pair_field else [])]
    for field in source.columns:
        if field not in (*required, *wanted):
            raise ParamsError(
                f"source.columns.{field}: the task {name} has {' and '.join(required)} "
                f"(and {', '.join(wanted)} where wanted)"
            )
    named = {str(field): column for field, column in source.columns.items()}
    return {field: field for field in required} | named


def _guess(path: str) -> FileFormat:
    found = format_of(path)
    if found is None:
        raise ParamsError(
            f"source.format: {path!r} has no known ending; "
            f"set it to one of {', '.join(get_args(FileFormat))}"
        )
    return found
