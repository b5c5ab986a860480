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
    "long line": (b"a" * 1_000_000 + b",kind 0\n", "line has more than 400,000 bytes"),
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


@pytest.mark.parametrize("name", BAD_LINES)
def test_too_many_bad_rows_stop_the_stage(project: Project, name: str) -> None:
    bad, _ = BAD_LINES[name]
    project.classify(train=project.write("a.csv", csv_of().encode() + 10 * bad))
    refused(project, project.prepare(), "a.csv: 10 of 70 rows are bad", "reports/rejected.jsonl")
    assert [row["line"] for row in project.rejected()] == list(range(62, 72))


def test_unclosed_quote_is_one_bad_row_at_its_line(project: Project) -> None:
    lines = csv_of(rows=4000).splitlines(keepends=True)
    lines.insert(7, '"never closed,kind 0\n')
    project.classify(train=project.write("a.csv", "".join(lines)))
    project.params["prepare"]["max_bad_share"] = 1.0
    assert project.prepare().code == 0
    assert [row["line"] for row in project.rejected()] == [8]
    assert "field larger than field limit" in project.rejected()[0]["reason"]


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
    "format that cannot be told": ({"train": "a.dat"}, "source.format: cannot be told from"),
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
