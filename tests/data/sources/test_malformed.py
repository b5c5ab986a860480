"""What a person can get wrong: each ends with one line that says what to do, an exit code, and
nothing half-written."""

import gzip
import os
import random

import pytest
from tests.data.conftest import Outcome, Project, csv_of


def refused(project: Project, outcome: Outcome, *parts: str, code: int = 3) -> None:
    """One line that holds all `parts`, the exit code, and no trace of prepared data."""
    assert outcome.code == code, outcome.error
    assert outcome.error.count("\n") == 1, outcome.error
    for part in parts:
        assert part in outcome.error
    assert project.leftovers() == []
    assert not (project.folder / "reports" / "data.json").exists()


def test_wrong_column_names_the_nearest(project: Project) -> None:
    project.classify(train=project.write("a.csv", csv_of()), columns={"text": "tekst"})
    refused(project, project.prepare(), "a.csv", "'tekst'", "did you mean 'text'?", "columns.text")


def test_wrong_column_in_json_and_parquet(project: Project) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    project.classify(train=project.write("a.jsonl", '{"txt": "a", "label": "b"}\n'))
    refused(project, project.prepare(), "a.jsonl", "no column 'text'", "did you mean 'txt'?")
    pq.write_table(pa.table({"text": ["a"], "labels": ["b"]}), project.folder / "a.parquet")
    project.classify(train="a.parquet")
    refused(project, project.prepare(), "a.parquet", "no column 'label'", "did you mean 'labels'?")


def test_wrong_position_without_header(project: Project) -> None:
    train = project.write("a.tsv", "a\tb\n" * 9)
    project.classify(train=train, header=False, columns={"text": "0", "label": "2"})
    refused(project, project.prepare(), "a.tsv", "no column '2'", "columns: '0', '1'")


def test_empty_file(project: Project) -> None:
    project.classify(train=project.write("a.csv", ""))
    refused(project, project.prepare(), "a.csv: the file is empty")


def test_header_and_nothing_else(project: Project) -> None:
    project.classify(train=project.write("a.csv", "text,label\n"))
    refused(project, project.prepare(), "a.csv: no rows")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (random.Random(0).randbytes(5000), "binary file"),
        (b"PK\x03\x04" + b"xl/worksheets", "spreadsheet"),
        ("text,label\n".encode("utf-16"), "UTF-16"),
        (b"PAR1 and so on", "format: parquet"),
    ],
)
def test_binary_file(project: Project, content: bytes, what: str) -> None:
    project.classify(train=project.write("a.csv", content))
    refused(project, project.prepare(), "a.csv: expected text, found", what)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz"])
def test_damaged_container(project: Project, name: str) -> None:
    content = b"PAR1 and so on" if name == "a.parquet" else gzip.compress(csv_of().encode())[:-20]
    project.classify(train=project.write(name, content))
    refused(project, project.prepare(), name)


BAD_LINES = {
    "invalid UTF-8": (b"caf\xe9,kind 0\n", "`text` is not valid UTF-8 (character 4)"),
    "NUL byte": (b"a\0b,kind 0\n", "`text` holds a NUL character"),
    "long line": (b"a" * 2_500_000 + b",kind 0\n", "line has more than 2,400,000 bytes"),
    "long field": (b"a" * 140_000 + b",kind 0\n", "a field has more than 131,072 characters"),
    "long text": (b"a" * 120_000 + b",kind 0\n", "`text` has 120,000 characters"),
    "ragged row": (b"a,b,kind 0\n", "3 fields where the first line has 2"),
    "short row": (b"a\n", "1 fields where the first line has 2"),
    "empty field": (b"some text,\n", "`label` is empty"),
    "blank field": (b"  ,kind 0\n", "`text` is empty"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_few_bad_rows_are_listed_and_left_out(project: Project, name: str) -> None:
    bad, reason = BAD_LINES[name]
    good = csv_of().encode().splitlines(keepends=True)
    project.classify(train=project.write("a.csv", b"".join([*good[:4], bad, *good[4:]])))
    assert project.prepare() == Outcome(0, "")
    (rejected,) = project.rejected()
    assert rejected["track"] == "finetune"
    assert (rejected["file"], rejected["line"]) == ("a.csv", 5)
    assert reason in rejected["reason"]
    assert len(project.all_rows("finetune")) == 60
    assert project.report("finetune")["rows_rejected"] == 1
    if name == "invalid UTF-8":  # numbers of a reason are left out when reasons are counted
        reasons = project.report("finetune")["rejected_reasons"]
        assert reasons == {"`text` is not valid UTF-8 (character …)": 1}


@pytest.mark.parametrize("name", BAD_LINES)
def test_too_many_bad_rows_stop_the_stage(project: Project, name: str) -> None:
    bad, _ = BAD_LINES[name]
    project.classify(train=project.write("a.csv", csv_of().encode() + 10 * bad))
    refused(project, project.prepare(), "a.csv: 10 of 70 rows are bad", "reports/rejected.jsonl")
    assert [row["line"] for row in project.rejected()] == list(range(62, 72))


STRAY_QUOTES = {
    "never closed": (['"never closed,kind 0'], [8]),
    "closed far below inside a field": (['"open,kind 0', 'a 20" screen,kind 1'], [8]),
    "closed where a field ends": (['"open,kind 0', 'another row,kind 1', 'a 20",kind 1'], [8]),
    "opened twice": (['"open,kind 0', '"open too,kind 1'], [8, 9]),
    "before a row that is quoted well": (['"open,kind 0', '"well, quoted",kind 1'], [8]),
    "closed in a row that is too long": (['"open,kind 0', 'a 20",kind 1,more'], [8, 9]),
    "words after the mark": (['"Good" they said,kind 0'], [8]),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", STRAY_QUOTES)
def test_a_stray_quote_costs_its_own_line(project: Project, name: str, packed: bool) -> None:
    wrong, expected = STRAY_QUOTES[name]
    lines = csv_of(rows=4000).splitlines()
    content = "\n".join([*lines[:7], *wrong, *lines[7:]]).encode()
    train = project.write("a.csv", gzip.compress(content) if packed else content)
    project.classify(train=train)
    assert project.prepare() == Outcome(0, "")
    assert [row["line"] for row in project.rejected()] == expected
    assert "a quotation mark opens this field" in project.rejected()[0]["reason"]
    assert project.report("finetune")["rows_read"] == 4000 + len(wrong)


def test_a_quote_that_opens_in_the_last_line(project: Project) -> None:
    project.classify(train=project.write("a.csv", csv_of() + '"never closed,kind 0'))
    assert project.prepare() == Outcome(0, "")
    assert [row["line"] for row in project.rejected()] == [62]


def test_quoted_fields_of_several_lines_are_read(project: Project) -> None:
    """Also with commas of prose, doubled quotes and blank lines in them."""
    texts = [
        "two\nlines", "Roses are red,\nviolets are blue,\nsugar is sweet,\nso, they say",
        'she said ""hi""\n\nand left', "one, two\nthree, four\nfive, six",
        "first, second\nand third",
    ]
    quoted = "".join(f'"{text}",kind 0\n' for text in texts)
    project.classify(train=project.write("a.csv", csv_of() + quoted))
    assert project.prepare() == Outcome(0, "")
    assert project.rejected() == []
    found = {row["text"] for row in project.all_rows("finetune")}
    assert {" ".join(text.replace('""', '"').split()) for text in texts} < found


def test_an_unreadable_header(project: Project) -> None:
    project.classify(train=project.write("a.csv", '"text,label\n' + csv_of()))
    refused(project, project.prepare(), "a.csv:1: the header: a quotation mark")


def test_a_long_text_of_json_escapes_is_read(project: Project) -> None:
    """90,000 characters are legal, and `json.dumps` writes each as six bytes."""
    import json

    rows = [{"text": f"text {i} of kind {i % 2}", "label": f"kind {i % 2}"} for i in range(60)]
    rows[3]["text"] = "é" * 90_000
    content = "".join(json.dumps(row) + "\n" for row in rows)
    project.classify(train=project.write("a.jsonl", content))
    assert project.prepare() == Outcome(0, "")
    assert max(len(row["text"]) for row in project.all_rows("finetune")) == 90_000


def test_invalid_utf8_in_a_list_of_a_parquet_file(project: Project) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    targets: list[list[bytes]] = [[f"t{i}".encode(), b"u"] for i in range(60)]
    targets[4][1] = b"caf\xe9"
    column = pa.ListArray.from_arrays(
        pa.array(range(0, 122, 2), pa.int32()),
        pa.array([t for row in targets for t in row], pa.binary()).view(pa.string()),
    )
    table = pa.table({"source": [f"s{i}" for i in range(60)], "target": column})
    pq.write_table(table, project.folder / "a.parquet")
    project.translate(train="a.parquet")
    assert project.prepare() == Outcome(0, "")
    (rejected,) = project.rejected()
    assert (rejected["line"], rejected["reason"]) == (
        5, "`target` is not valid UTF-8 (character 4)",
    )  # fmt: skip


def test_one_row(project: Project) -> None:
    project.classify(train=project.write("a.csv", "text,label\nhello,greeting\n"))
    refused(project, project.prepare(), "no row left for the split", "1 good rows in all")


def test_missing_split_file(project: Project) -> None:
    project.classify(train=project.write("a.csv", csv_of()), test="b.csv")
    refused(project, project.prepare(), "b.csv: no such file")


def test_split_without_good_rows(project: Project) -> None:
    train, test = project.write("a.csv", csv_of()), project.write("b.csv", "text,label\n")
    project.classify(train=train, test=test)
    refused(project, project.prepare(), "no row left for the split test", "file of that split")


def test_label_only_in_test(project: Project) -> None:
    test = project.write("b.csv", "text,label\nnew text,kind 7\nother text,kind 1\n")
    project.classify(train=project.write("a.csv", csv_of()), test=test)
    refused(project, project.prepare(), "1 label(s) in test never occur in train", "'kind 7'")


def test_parallel_files_out_of_step(project: Project) -> None:
    train, other = project.write("a.en", "one\ntwo\n"), project.write("a.de", "eins\n")
    project.translate(train=train, train_target=other, format="parallel_text")
    refused(project, project.prepare(), "a.de: ends before line 2", "equally many lines")


def test_repeated_ids(project: Project) -> None:
    rows = "".join(f"{i // 2},text {i},kind {i % 2}\n" for i in range(40))
    project.classify(train=project.write("a.csv", "id,text,label\n" + rows), columns={"id": "id"})
    refused(project, project.prepare(), "a.csv", "ids occur more than once in train")


def test_unknown_hub_name_without_network(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    project.params["prepare"]["finetune"] |= {
        "task": "classification",
        "source": {"kind": "hub", "name": "nobody/nothing-here", "revision": "a" * 40},
    }
    refused(
        project, project.prepare(), "nobody/nothing-here at aaaaaaaa", "not in the local cache",
        "kind: files",
    )


USAGE = {
    "format that cannot be guessed": ({"train": "a.dat"}, "source.format: 'a.dat' has no"),
    "column of the other task": (
        {"train": "a.csv", "columns": {"source": "text"}}, "source.columns.source",
    ),
    "name for no label": (
        {"train": "a.csv", "label_names": {"kind 9": "nine"}}, "no row has the label 'kind 9'",
    ),
    "target file for a table": (
        {"train": "a.csv", "train_target": "b.csv"}, "only for format parallel_text",
    ),
    "parallel text with one file": (
        {"train": "a.csv", "format": "parallel_text"}, "the other language is missing",
    ),
}


@pytest.mark.parametrize("name", USAGE)
def test_parameters_that_do_not_fit(project: Project, name: str) -> None:
    source, message = USAGE[name]
    project.write("a.csv", csv_of())
    project.classify(**source)
    refused(project, project.prepare(), message, code=2)


def test_package_source_of_the_other_task(project: Project) -> None:
    project.params["prepare"]["finetune"]["source"] = {"kind": "package", "name": "icd10cm"}
    refused(project, project.prepare(), "icd10cm is for the task classification", code=2)


def test_a_failure_keeps_what_an_earlier_run_made(project: Project) -> None:
    assert project.prepare().code == 0
    before = {path: path.read_bytes() for path in project.folder.rglob("*.parquet")}
    project.classify(train="nowhere.csv")
    assert project.prepare().code == 3
    assert before and all(path.read_bytes() == old for path, old in before.items())
