"""Rows in, rows and predictions out: in every format as in training, and nothing is lost."""

import csv
import gzip
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.data.sources.formats import FORMATS, format_of
from scratchformer.params import FileFormat
from scratchformer.prediction import Answer, batches, predict_file, rows_out, tables
from scratchformer.prediction.shards import Shard


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that gives each text back in capitals, so that a mixed-up row shows."""

    def predict(
        texts: Sequence[str], top_k: int, beam: int, long: str, seconds: Sequence[str] = ()
    ) -> list[list[Answer]]:
        texts = [f"{a}+{b}" for a, b in zip(texts, seconds, strict=True)] if seconds else texts
        return [[Answer(text.upper() * n, 1 / n) for n in range(1, top_k + 1)] for text in texts]

    monkeypatch.setattr(batches, "load_predictor", lambda folder, device="auto": predict)


def predict(source: Path | None, target: Path | None = None, **given: Any) -> None:
    given = {"column": "text", "top_k": 1, "beam": 1, "batch_size": 2} | given
    predict_file(Path("model"), [], source, target=target, **given)


def read(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    if ".jsonl" in path.name or ".ndjson" in path.name:
        return [json.loads(line) for line in text.splitlines()]
    tabs = ".tsv" in path.name
    return list(
        csv.DictReader(
            io.StringIO(text, newline=""), delimiter="\t" if tabs else ",",
            quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        )
    )  # fmt: skip


ROWS = [{"id": str(n), "word": f'{word}, "x" ü'} for n, word in enumerate("abcde")]


def table_of(ending: str) -> bytes:
    if "json" in ending:
        return b"\n\n".join(json.dumps(row).encode() for row in ROWS) + b"\n"
    if ending == "tsv":
        return "\r\n".join(["id\tword", *("\t".join(row.values()) for row in ROWS)]).encode()
    file = io.StringIO()
    made = csv.DictWriter(file, ["id", "word"])
    made.writeheader()
    made.writerows(ROWS)
    return file.getvalue().encode("utf-8-sig")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "ndjson", "csv.gz", "ndjson.gz"])
@pytest.mark.parametrize("written", ["csv", "tsv", "jsonl", "ndjson", "csv.gz"])
def test_rows_keep_their_columns_and_gain_predictions(
    tmp_path: Path, ending: str, written: str
) -> None:
    source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{written}"
    content = table_of(ending.removesuffix(".gz"))
    source.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    predict(source, target, column="word", top_k=2)
    found = read(target)
    assert [{"id": row["id"], "word": row["word"]} for row in found] == ROWS
    assert [row["prediction"] for row in found] == [row["word"].upper() for row in ROWS]
    assert [float(row["probability_2"]) for row in found] == [0.5] * len(ROWS)


def test_quotation_marks_of_a_tsv_are_characters(tmp_path: Path) -> None:
    source, target = tmp_path / "in.tsv", tmp_path / "out.tsv"
    lines = ['1\t"open quote here', "2\tfine line", '3\tshe said "hi"', '4\tclosing" here']
    source.write_text("\n".join(["id\ttext", *lines]) + "\n")
    predict(source, target)
    texts = [line.partition("\t")[2] for line in lines]
    expected = [f"{line}\t{text.upper()}\t1.0" for line, text in zip(lines, texts, strict=True)]
    assert target.read_text().splitlines() == ["id\ttext\tprediction\tprobability", *expected]


def test_each_line_of_a_text_file_has_one_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(b"one\r\n\r\ntwo\n\nthree")
    predict(source)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[1] for line in printed] == ["ONE", "", "TWO", "", "THREE"]


def test_parquet(tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.csv"
    pq.write_table(pa.table({"text": ["a", "b"], "tags": [["x"], None]}), source)
    predict(source, target)
    assert [(row["tags"], row["prediction"]) for row in read(target)] == [
        ('["x"]', "A"), ("", "B"),
    ]  # fmt: skip


def test_objects_with_different_keys(tmp_path: Path) -> None:
    """A key that comes later has a column; what is no text is written as JSON has it."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    rows: list[dict[str, Any]] = [
        {"text": "a"}, {"note": {"deep": [1, "ü"]}, "text": "b"}, {"text": "c", "n": None, "m": 1.5}
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict(source, target)
    found = read(target)
    assert list(found[0]) == ["text", "note", "n", "m", "prediction", "probability"]
    assert [row["note"] for row in found] == ["", '{"deep": [1, "ü"]}', ""]
    assert (found[2]["n"], found[2]["m"], found[2]["prediction"]) == ("", "1.5", "C")
    predict(source, target := tmp_path / "out.jsonl")
    assert [{key: row[key] for key in given} for row, given in zip(read(target), rows)] == rows  # noqa: B905


def test_duplicate_and_empty_names_stay_where_they_were(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("x,,text,x\n1,2,a,3\n")
    predict(source, source)
    assert source.read_text().splitlines() == ["x,,text,x,prediction,probability", "1,2,a,3,A,1.0"]


def test_bytes_of_other_columns_go_out_as_they_came(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"text,note\na,caf\xe9\n")
    predict(source, source)
    assert b"a,caf\xe9,A,1.0" in source.read_bytes()


BAD = {
    "no column": ("x.csv", b"id,txt\n1,a\n", "x.csv:2: no column 'text'; did you mean 'txt'?"),
    "short row": ("x.csv", b"id,text\n1,a\n\n1\n", "x.csv:4: 1 fields where the first line has 2"),
    "long row": ("x.csv", b"id,text\n1,a,b,c\n2,d\n", "x.csv:2: 4 fields where the first line"),
    "taken name": ("x.csv", b"text,prediction\na,b\n", "x.csv:2: there is a column 'prediction'"),
    "taken later": (
        "x.jsonl", b'{"text": "a"}\n{"text": "b", "probability": 1}\n', "a column 'probability'",
    ),
    "column twice": ("x.csv", b"text,text\na,b\n", "x.csv:2: two columns are called 'text'"),
    "stray quote": ("x.csv", b'text,n\na,1\n"b,2\nc,3\n', "x.csv:3: a quotation mark opens"),
    "long field": ("x.csv", b"text\n" + b"a" * 140_000, "x.csv:2: a field has more than 131,072"),
    "broken JSON": ("x.jsonl", b'{"text": "a"}\n{"text"\n', "x.jsonl:2: not readable as JSON"),
    "no object": ("x.ndjson", b"[1]\n", "x.ndjson:1: not a JSON object but list"),
    "null": ("x.jsonl", b'{"text": null}\n', "x.jsonl:1: `text` is missing; expected text"),
    "list": ("x.jsonl", b'{"text": ["a"]}\n', "x.jsonl:1: `text` is of type list"),
    "no UTF-8": ("x.txt", b"abc\nab\xff\n", "x.txt:2: `text` is not valid UTF-8 (character 3)"),
    "no UTF-8 in CSV": ("x.csv", b"text\n\xff\xfe\n", "x.csv:2: `text` is not valid UTF-8"),
    "empty": ("x.csv", b"", "x.csv: the file is empty"),
    "header only": ("x.csv", b"text\n", "x.csv: no rows"),
    "binary": ("x.txt", b"PK\x03\x04abc", "x.txt: expected text, found a zip archive"),
}


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_told_and_nothing_is_written(tmp_path: Path, name: str, itself: bool) -> None:
    file, content, expected = BAD[name]
    source = tmp_path / file
    source.write_bytes(content)
    target = source if itself and file != "x.txt" else tmp_path / "out.csv"
    with pytest.raises(DataError) as caught:
        predict(source, target)
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source] and source.read_bytes() == content


def test_what_a_format_cannot_hold_is_told(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a\\tb", "id": "\\ud83d"}\n')
    with pytest.raises(DataError, match=r"in\.jsonl:1: a tab or line break"):
        predict(source, tmp_path / "out.tsv")
    with pytest.raises(DataError, match=r"in\.jsonl:1: a lone surrogate"):
        predict(source, tmp_path / "out.csv")
    predict(source, target := tmp_path / "out.jsonl")
    assert read(target)[0]["id"] == "\ud83d"
    (tmp_path / "in.csv").write_text("x,x,text\n1,2,a\n")
    with pytest.raises(DataError, match="two columns are called 'x'"):
        predict(tmp_path / "in.csv", tmp_path / "other.jsonl")
    assert not (tmp_path / "other.jsonl").exists()


def test_targets_that_cannot_be_written(tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("a\n")
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(ParamsError, match=r"out\.csv: is a folder"):
        predict(source, tmp_path / "out.csv")
    with pytest.raises(ParamsError, match=r"--output .*in\.txt/out\.csv: "):
        predict(source, source / "out.csv")
    with pytest.raises(ParamsError, match=r"ends in \.csv"):
        predict(source, tmp_path / "out.parquet")
    with pytest.raises(DataError, match="is a folder"):
        predict(tmp_path, None)


def test_control_characters_do_not_reach_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in.txt"
    source.write_text("a\x1b[2Jb" + "c" * 50 + "\n")
    predict(source)
    assert "\x1b[2J" in capsys.readouterr().out  # a pipe is given what came in
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    predict(source)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "a␛[2Jb" in printed


def test_a_tab_in_the_first_text_of_a_pair_does_not_end_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text('text,other\n"a\tb "," c\td"\n')
    predict(tmp_path / "in.csv", pair_column="other")
    # The model is given the two texts as they stand; in the printed line one tab parts them.
    assert capsys.readouterr().out == "a b\tc d\tA\tB + C\tD\t1.0000\n"


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Put bytes into standard input, as a shell does."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


@pytest.mark.parametrize("kind", [name for name, each in FORMATS.items() if each.piped])
@pytest.mark.parametrize("packed", [False, True])
def test_what_can_be_piped_gives_the_same_as_its_file(
    tmp_path: Path, kind: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"one\n\ntwo" if kind == "text" else table_of(kind)
    content = gzip.compress(content) if packed else content
    column = "text" if kind == "text" else "word"
    (tmp_path / "rows").write_bytes(content)  # its name tells nothing
    predict(tmp_path / "rows", tmp_path / "file.jsonl", column=column, kind=kind)
    pipe(monkeypatch, content)
    predict(None, tmp_path / "piped.jsonl", column=column, kind=kind)
    rows = read(tmp_path / "piped.jsonl")
    assert rows == read(tmp_path / "file.jsonl")
    assert [row[column] for row in rows] == (
        ["one", "", "two"] if kind == "text" else [row["word"] for row in ROWS]
    )


@pytest.mark.parametrize(
    ("content", "asked", "error", "told"),
    [
        (b"PAR1", {"kind": "parquet"}, ParamsError, "from standard input.*csv, tsv, jsonl, text"),
        (b"a", {"kind": "parallel_text"}, ParamsError, "cannot be read"),
        (b"a", {"kind": "csw"}, ParamsError, "unknown file format 'csw'.*csv"),
        (b"", {"kind": "csv"}, DataError, "^stdin: no rows"),
        (b'text\n"a\nb\n', {"kind": "csv"}, DataError, "^stdin:2: a quotation mark"),
        (b"PK\x03\x04zip", {}, DataError, "^stdin: expected text, found a zip"),
        (b'{"text": "a"}\n{"text": "b", "k": 1}', {"kind": "jsonl"}, DataError,
         "^stdin:2: the first row has no 'k'; write .jsonl"),
    ],
)  # fmt: skip
def test_what_cannot_be_piped_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, asked: dict[str, Any],
    error: type[Exception], told: str,
) -> None:  # fmt: skip
    pipe(monkeypatch, content)
    with pytest.raises(error, match=told):
        predict(None, tmp_path / "out.csv", **asked)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_may_be_empty_and_texts_have_no_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(monkeypatch, b"")
    predict(None)
    assert capsys.readouterr().out == ""
    with pytest.raises(ParamsError, match="texts or --format, not both"):
        predict_file(Path("m"), ["a"], None, "text", None, 1, 1, 2, kind="csv")


def test_the_registry_of_formats_has_what_params_and_writers_know() -> None:
    assert FORMATS.keys() == {*get_args(FileFormat), "text"}
    assert {name for name, each in FORMATS.items() if each.written} == {"csv", "tsv", "jsonl"}
    for name, each in FORMATS.items():
        for suffix in each.suffixes:
            assert format_of(f"Rows{suffix.upper()}.gz") == name
            if each.written:
                rows_out.check_target(Path(f"out{suffix}"))
            else:
                with pytest.raises(ParamsError, match="expected a name that ends in"):
                    rows_out.check_target(Path(f"out{suffix}"))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("count", [2, 5])
def test_parts_one_behind_the_other_are_one_run(
    tmp_path: Path, ending: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five rows in spans of two batches of one are three spans: of five parts, two are empty."""
    monkeypatch.setattr(tables, "SPAN", 2)
    source, whole = tmp_path / f"rows.{ending}", tmp_path / f"out.{ending}"
    source.write_bytes(table_of(ending))
    predict(source, whole, column="word", batch_size=1)
    for number in range(count, 0, -1):
        shard = Shard.of(f"{number}/{count}")
        predict(source, whole, column="word", batch_size=1, shard=shard)
    parts = sorted(tmp_path.glob(f"out.part-*-of-{count:05}.{ending}"))
    assert len(parts) == count
    assert b"".join(part.read_bytes() for part in parts) == whole.read_bytes()


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "a/b", "-1/4", "1/4/2"])
def test_what_is_no_part_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="say 2/4"):
        Shard.of(text)
    with pytest.raises(ParamsError, match="--input and --output"):
        predict(None, tmp_path / "out.csv", shard=Shard(1, 2))


def test_batches_hold_texts_of_about_one_length_and_rows_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["a" * (1 + number * 7 % 20) for number in range(20)]  # every length once
    seen: list[list[int]] = []
    echo = batches.load_predictor(Path("model"))

    def noted(texts: list[str], *how: Any) -> list[list[Answer]]:
        seen.append([len(text) for text in texts])
        return echo(texts, *how)

    monkeypatch.setattr(batches, "load_predictor", lambda folder, device: noted)
    monkeypatch.setattr(tables, "SPAN", 4)
    source, target = tmp_path / "words.txt", tmp_path / "out.csv"
    source.write_text("\n".join(words))
    predict(source, target, batch_size=3)
    assert [row["prediction"] for row in read(target)] == [word.upper() for word in words]
    lengths = [len(word) for word in words]
    spans = [sorted(lengths[:12], reverse=True), sorted(lengths[12:], reverse=True)]
    found = [[length for batch in some for length in batch] for some in (seen[:4], seen[4:])]
    assert found == spans

    seen.clear()
    pipe(monkeypatch, source.read_bytes())
    predict(None, target, batch_size=3)
    assert [sorted(batch) for batch in seen] == [
        sorted(lengths[at : at + 3]) for at in range(0, 20, 3)
    ]
