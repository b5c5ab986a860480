"""Files of every format come out as the same rows."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.conftest import Project

from scratchformer.base.tasks import TaskName
from scratchformer.data.preparation.rows import BadRow, RawRow
from scratchformer.data.sources.files import open_files
from scratchformer.data.sources.formats.text_lines import MAX_LINE_BYTES, read_lines
from scratchformer.params import FilesSource, load_params
from scratchformer.stages.prepare import prepare
from scratchformer.tracking import StageRun

ROWS = [("=cmd|' /C calc'!A0", "eins"), ("<s>bold</s> & <unk>", "zwei"), ("naïve “Straße”", "3")]


def read(task: TaskName, **source: Any) -> list[RawRow | BadRow]:
    corpus = open_files(FilesSource(kind="files", **source), task)
    return list(corpus.splits["train"]())


def pairs(rows: list[RawRow | BadRow]) -> list[tuple[Any, Any]]:
    return [(row.values["source"], row.values["target"]) for row in rows if isinstance(row, RawRow)]


def table(format_: str) -> bytes:
    """`ROWS` in a table format, with a column more than is wanted, in another order."""
    match format_:
        case "csv":
            quoted = [(a.replace('"', '""'), b) for a, b in ROWS]
            return ("de,x,en\n" + "".join(f'"{b}",0,"{a}"\n' for a, b in quoted)).encode()
        case "tsv":
            return ("de\tx\ten\n" + "".join(f"{b}\t0\t{a}\n" for a, b in ROWS)).encode()
        case "jsonl":
            return "\n".join(json.dumps({"de": b, "x": [1], "en": a}) for a, b in ROWS).encode()
        case _:
            sink = pa.BufferOutputStream()
            columns = {"de": [b for _, b in ROWS], "x": [0] * 3, "en": [a for a, _ in ROWS]}
            pq.write_table(pa.table(columns), sink)
            return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, format_: str, packed: bool) -> None:
    content = table(format_)
    path = tmp_path / (f"data.{format_}" + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(content) if packed else content)
    rows = read("seq2seq", train=str(path), columns={"source": "en", "target": "de"})
    assert pairs(rows) == ROWS
    first = {"csv": 2, "tsv": 2}.get(format_, 1)
    assert [row.line for row in rows] == [first, first + 1, first + 2]


@pytest.mark.parametrize("packed", [False, True])
def test_parallel_text(tmp_path: Path, packed: bool) -> None:
    for side, column in (("en", 0), ("de", 1)):
        content = "".join(row[column] + "\n" for row in ROWS).encode()
        (tmp_path / side).write_bytes(gzip.compress(content) if packed else content)
    names = {"train": str(tmp_path / "en"), "train_target": str(tmp_path / "de")}
    rows = read("seq2seq", format="parallel_text", **names)
    assert pairs(rows) == ROWS


def test_csv_quotes_line_breaks_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbftext,label\r\n"two\r\nlines, ""quoted""",a\r\n\r\nplain,b\r\n')
    rows = read("classification", train=str(path))
    assert [row.line for row in rows] == [2, 5]
    assert [dict(row.values) for row in rows if isinstance(row, RawRow)] == [
        {"text": 'two\nlines, "quoted"', "label": "a"},
        {"text": "plain", "label": "b"},
    ]


def test_tsv_takes_quotation_marks_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"open\ta\nshe said "hi"\tb\n')
    rows = read("classification", train=str(path))
    assert [row.values["text"] for row in rows if isinstance(row, RawRow)] == [
        '"open', 'she said "hi"',
    ]


def test_columns_by_position(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("AARDEMA\tAA R D EH M AH\nABADIE\tAH B AE D IY\n")
    rows = read(
        "seq2seq", train=str(path), header=False, columns={"source": "0", "target": "1"}
    )
    assert pairs(rows) == [("AARDEMA", "AA R D EH M AH"), ("ABADIE", "AH B AE D IY")]


def test_lists_of_references(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"source": "read", "target": ["R IY D", "R EH D"]}\n')
    assert pairs(read("seq2seq", train=str(path))) == [("read", ["R IY D", "R EH D"])]
    columns = {"source": ["read"], "target": [["R IY D", "R EH D"]]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = read("seq2seq", train=str(tmp_path / "a.parquet"))
    assert pairs(rows) == [("read", ["R IY D", "R EH D"])]


def test_bad_json_lines_are_single_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = '{"text": "a", "label": 1}\n'
    path.write_text(good + "{\n" + "[1]\n" + "\n" + '{"text": "b"}\n' + "[" * 200_000 + "\n" + good)
    rows = read("classification", train=str(path))
    assert [(row.line, isinstance(row, BadRow)) for row in rows] == [
        (1, False), (2, True), (3, True), (5, False), (6, True), (7, False),
    ]


def test_parquet_with_bytes_that_are_no_text(tmp_path: Path, project: Project) -> None:
    texts = pa.array([b"text %d" % i for i in range(40)] + [b"caf\xe9"])
    # A reader trusts the declared type; nothing has checked the bytes.
    text = pa.Array.from_buffers(pa.string(), 41, texts.buffers())
    labels = pa.array([i % 2 for i in range(41)])
    pq.write_table(pa.table({"text": text, "label": labels}), tmp_path / "a.parquet")
    project.classify(train="a.parquet")
    assert project.prepare().code == 0
    (rejected,) = project.rejected()
    assert rejected["line"] == 41 and "not valid UTF-8" in rejected["reason"]
    assert {row["label"] for row in project.all_rows("finetune")} == {"0", "1"}


def test_a_line_is_never_longer_than_its_limit_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * (40 * MAX_LINE_BYTES) + b"\nnext\n")
    tracemalloc.start()
    lines = list(read_lines(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert lines == [(1, None), (2, "next")]
    assert peak < 4 * MAX_LINE_BYTES


def test_a_header_that_names_a_column_twice(project: Project) -> None:
    project.classify(train=project.write("a.csv", "text,text,label\na,b,c\n"))
    outcome = project.prepare()
    assert outcome.code == 3 and "the column 'text' twice" in outcome.error


def test_files_outside_the_watched_folder_are_pointed_out(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.data.conftest import csv_of

    inside, outside = project.write("data/raw/a.csv", csv_of()), project.write("b.csv", csv_of())
    # DVC hashes what a link in its folder points at, so it notices when that file changes.
    link = "data/raw/link.csv"
    Path(link).symlink_to(Path(outside).resolve())
    for name, warned in ((inside, False), (outside, True), (link, False)):
        project.classify(train=name)
        assert project.prepare().code == 0
        warnings = prepare(load_params(), StageRun(None)).warnings
        assert any("DVC will not notice" in warning for warning in warnings) == warned


@pytest.mark.parametrize(
    ("target", "last", "warned"),
    [
        ("kekes", "kekes", True),  # five units of two characters
        ("ke k e s i", "ke k e s i", True),
        ("ke k e s", "ke k e s", False),  # four
        ("kekes", "keke", False),  # one row is enough
        ("", "", False),
    ],
)
def test_targets_too_long_for_the_control_of_letters_are_told_before_the_training(
    project: Project, target: str, last: str, warned: bool
) -> None:
    letters = [a + b for a in "abcdefgh" for b in "abcdefgh"]
    rows = [{"source": text, "target": target} for text in letters]
    if not target:  # sentences have another control
        rows = [{"source": f"{a} {a}", "target": "five or more words here"} for a in letters]
    rows = [*rows, {"source": "zz", "target": last or "a b"}]
    project.translate(
        train=project.write("train.jsonl", "\n".join(map(json.dumps, rows))),
        test=project.write("test.jsonl", "\n".join(map(json.dumps, rows[:9]))),
    )
    assert project.prepare().code == 0
    warnings = prepare(load_params(), StageRun(None)).warnings
    told = [line for line in warnings if "letter by letter" in line]
    assert told == (
        ["scratch: every target is more than 2 times as long as its source, so evaluate will leave "
         "out the control that goes letter by letter"] if warned else []
    )  # fmt: skip
