"""Both data stages from files to token ids: what is kept, merged, counted, and byte-identical."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.data.conftest import Project, csv_of

from scratchformer.base.errors import DataError
from scratchformer.data.preparation import prepared
from scratchformer.data.tokenized import read as tokenized
from scratchformer.text.tokenizers import EOS_ID, UNK_ID, load_tokenizers

WORDS = "".join(f"word{i}\tW {i}\nword{i}\tV {i}\n" for i in range(0, 120, 2)) + "".join(
    f"word{i} \tX {i}\n" for i in range(0, 120, 3)
)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("data/prepared", "data/tokenized", "models", "reports")
        for path in sorted((folder / name).rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def spoken(project: Project) -> Project:
    """A dictionary of 80 words with one to three pronunciations each."""
    project.translate(
        train=project.write("words.tsv", WORDS), header=False, merge_references=True,
        columns={"source": "0", "target": "1"},
    )
    return project


def test_references_of_one_source_are_merged(spoken: Project) -> None:
    assert spoken.prepare().code == 0
    rows = {row["source"]: row for row in spoken.all_rows("scratch")}
    assert len(rows) == len(spoken.all_rows("scratch")) == 80
    assert rows["word6"]["targets"] == ["W 6", "V 6", "X 6"]
    assert rows["word6"]["source"] == "word6" and rows["word6"]["id"] == "words.tsv:7"
    assert rows["word3"]["targets"] == ["X 3"]
    report = spoken.report("scratch")
    assert report["rows_read"] == 160
    assert report["rows_dropped"]["merged"] == 80
    assert sum(part["references"] for part in report["splits"].values()) == 160


def test_translations_of_one_source_stay_rows_of_their_own(spoken: Project) -> None:
    spoken.params["prepare"]["scratch"]["source"]["merge_references"] = False
    assert spoken.prepare().code == 0
    rows = spoken.all_rows("scratch")
    assert len(rows) == 160
    assert all(len(row["targets"]) == 1 for row in rows)
    homes = {(row["source"].casefold(), split) for split in ("train", "valid", "test")
             for row in spoken.rows("scratch", split)}
    assert len(homes) == 80  # one text, one split


def test_given_splits_are_kept_and_leaks_leave_train(project: Project) -> None:
    train = csv_of(rows=20) + "Shared  TEXT,kind 0\nshared text,kind 1\nin valid,kind 0\n"
    valid = "text,label\nin valid,kind 0\nalso fine,kind 1\n"
    test = "text,label\nshared text,kind 0\nagain,kind 1\nagain,kind 1\n"
    files = {"train": train, "valid": valid, "test": test}
    project.classify(**{split: project.write(f"{split}.csv", t) for split, t in files.items()})
    assert project.prepare().code == 0
    assert [row["text"] for row in project.rows("finetune", "test")] == [
        "shared text", "again", "again",
    ]
    assert len(project.rows("finetune", "valid")) == 2
    assert len(project.rows("finetune", "train")) == 20
    assert project.report("finetune")["rows_dropped"]["across_splits"] == 3


def test_a_second_text_is_a_column_of_its_own(project: Project) -> None:
    rows = "".join(f"the dog {i},it sleeps {i % 7},kind {i % 2}\n" for i in range(60))
    apart = 'a man,"sleeps\tnow ",kind 0\na man sleeps,now,kind 1\n'
    text = project.write("a.csv", "premise,claim,label\n" + rows + apart)
    project.classify(train=text, columns={"text": "premise", "text_pair": "claim"})
    project.classify(track="scratch", train=text, columns={"text": "premise"})
    assert project.prepare().code == 0
    found = project.all_rows("finetune")
    assert list(found[0]) == ["id", "text", "text_pair", "label", "group"]
    texts = {(row["text"], row["text_pair"]) for row in found}
    assert len(found) == 62 and texts > {("a man", "sleeps now"), ("a man sleeps", "now")}
    assert prepared.load_info("finetune").pairs and not prepared.load_info("scratch").pairs
    assert {row["text_pair"] for row in project.all_rows("scratch")} == {None}
    lengths = project.report("finetune")["splits"]["train"]["lengths"]
    assert lengths["text_pair"]["words"]["max"] == 3
    assert "text_pair" not in project.report("scratch")["splits"]["train"]["lengths"]
    assert project.tokenize().code == 0  # what becomes of them: tests/pretrained/test_pairs.py


def test_a_missing_split_is_cut_from_train_only(project: Project) -> None:
    test = "text,label\na,kind 0\nb,kind 1\n"
    train = project.write("a.csv", csv_of(rows=300))
    project.classify(train=train, test=project.write("b.csv", test))
    assert project.prepare().code == 0
    assert len(project.rows("finetune", "test")) == 2
    assert abs(len(project.rows("finetune", "valid")) - 60) < 25
    assert len(project.all_rows("finetune")) == 302


def test_groups_of_a_file_stay_together(project: Project) -> None:
    rows = "".join(f"text {i},kind {i % 2},author {i // 10}\n" for i in range(400))
    train = project.write("a.csv", "text,label,author\n" + rows)
    project.classify(train=train, columns={"group": "author"})
    assert project.prepare().code == 0
    authors = [{row["group"] for row in project.rows("finetune", split)}
               for split in ("train", "valid", "test")]
    assert sum(map(len, authors)) == len(set.union(*authors)) == 40
    assert prepared.load_info("finetune").grouped


def test_report_counts_lengths_balance_and_coverage(project: Project) -> None:
    train = "text,label\n" + "".join(f"{'ab ' * (i % 4 + 1)}{i},kind {i % 2}\n" for i in range(20))
    valid, test = "text,label\nab 3,kind 0\n", "text,label\nab x,kind 1\nab ab,kind 1\n"
    files = {"train": train, "valid": valid, "test": test}
    project.classify(**{split: project.write(f"{split}.csv", t) for split, t in files.items()})
    assert project.prepare().code == 0
    report = project.report("finetune")
    assert report["splits"]["test"]["labels"] == {"kind 1": 2}
    assert report["splits"]["train"]["labels"] == {"kind 0": 10, "kind 1": 10}
    assert report["splits"]["train"]["lengths"]["text"]["words"] == {
        "min": 2, "p05": 2, "median": 3, "p95": 5, "p99": 5, "max": 5,
    }
    assert report["coverage"]["test"]["text"] == {"characters": 0.888889, "words": 0.75}
    assert report["coverage"]["valid"]["text"] == {"characters": 1.0, "words": 1.0}


def test_loading_before_preparing_says_what_to_run(project: Project) -> None:
    for load in (prepared.load_info, tokenized.load_tokenized_info):
        with pytest.raises(DataError, match="make it with: dvc repro"):
            load("scratch")
    with pytest.raises(DataError, match="dvc repro prepare"):
        prepared.load_split("scratch", "train")
    with pytest.raises(DataError, match="dvc repro tokenize"):
        tokenized.open_split("scratch", "train")


def test_memory_stays_flat_as_data_grow(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only digests and counts are kept of a row, not its text (210 bytes here)."""
    import io
    import tracemalloc

    from scratchformer.data.preparation import prepare as preparation
    from scratchformer.data.preparation import statistics
    from scratchformer.data.sources import open_source
    from scratchformer.params import load_params

    for module in (preparation, statistics):
        monkeypatch.setattr(module, "BATCH_ROWS", 500)
    project.classify(train="a.csv")

    def peak(rows: int) -> int:
        lines = (f"{'long text ' * 20}{i // 50} {i % 50},kind {i % 2}\n" for i in range(rows))
        project.write("a.csv", "text,label\n" + "".join(lines))
        project.prepare()  # writes params.yaml, and warms up
        track = load_params().prepare.finetune
        tracemalloc.start()
        corpus = open_source(track, 0)
        preparation.prepare_track("finetune", track, corpus, 0, 0.1, Path("out"), io.StringIO())
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    few, many = peak(2_000), peak(8_000)
    assert many - few < 6_000 * 140


class TestTokenized:
    """One preparation and tokenization of a translation for both tracks, looked at in turn."""

    @pytest.fixture
    def done(self, spoken: Project) -> Project:
        spoken.params["prepare"]["finetune"] = spoken.params["prepare"]["scratch"]
        spoken.params["tokenize"]["scratch"]["max_source_length"] = 6
        assert spoken.prepare().code == 0
        assert spoken.tokenize().code == 0
        return spoken

    def test_records_match_the_prepared_rows(self, done: Project) -> None:
        pair = load_tokenizers(done.folder / "models" / "tokenizers" / "scratch")
        assert pair.target is not None
        for split in ("train", "valid", "test"):
            rows = done.rows("scratch", split)
            records = tokenized.open_split("scratch", split).to_pylist()
            expected = [(i, target) for i, row in enumerate(rows) for target in row["targets"]]
            assert [record["row"] for record in records] == [row for row, _ in expected]
            for record, (row, target) in zip(records, expected, strict=True):
                assert record["target"][-1] == record["source"][-1] == EOS_ID
                if UNK_ID not in record["target"]:
                    assert pair.target.decode(record["target"]) == target
                if UNK_ID not in record["source"]:
                    assert rows[row]["source"].startswith(pair.source.decode(record["source"]))
        info = tokenized.load_tokenized_info("scratch")
        assert info["target_vocab_size"] == pair.target.get_vocab_size()
        assert info["task"] == "seq2seq" and info["max_source_length"] == 6
        # A number that only occurs in the test split was never learned.
        numbers = {t.split()[1] for row in done.rows("scratch", "train") for t in row["targets"]}
        vocabulary = set(pair.target.get_vocab())
        assert numbers <= vocabulary
        held_out = {t.split()[1] for row in done.rows("scratch", "test") for t in row["targets"]}
        assert held_out - numbers and not (held_out - numbers) & vocabulary

        tokens = json.loads((done.folder / "reports" / "tokens.json").read_text())
        test = tokens["scratch"]["splits"]["test"]
        assert test["target"]["unknown_rate"] > 0.1
        assert test["source"]["truncated_share"] == pytest.approx(
            sum(len(row["source"]) + 1 > 6 for row in done.rows("scratch", "test"))
            / len(done.rows("scratch", "test")), abs=1e-6,
        )
        assert test["source"]["lengths"]["max"] == 6

        finetune = tokenized.open_split("finetune", "test")
        assert finetune.schema.names == ["row", "source", "target"]
        assert len(finetune) == sum(len(row["targets"]) for row in done.rows("finetune", "test"))
        before = hashes(done.folder)
        assert done.prepare().code == 0 and done.tokenize().code == 0
        assert hashes(done.folder) == before and len(before) > 15


def test_classification_on_both_tracks(project: Project) -> None:
    text = project.write("a.csv", csv_of(labels=3, rows=90))
    project.classify(track="scratch", train=text)
    project.classify(track="finetune", train=text)
    project.params["tokenize"]["finetune"]["max_length"] = 5
    assert project.prepare().code == 0
    assert project.tokenize().code == 0
    names = sorted(path.name for path in (project.folder / "models/tokenizers/scratch").iterdir())
    assert names == ["inputs.json", "source.json"]
    for track, column in (("scratch", "source"), ("finetune", "source")):
        info = tokenized.load_tokenized_info(track)  # type: ignore[arg-type]
        assert info["labels"] == ["kind 0", "kind 1", "kind 2"] and info["num_labels"] == 3
        table: pa.Table = tokenized.open_split(track, "test")  # type: ignore[arg-type]
        assert table.schema.types == [pa.int32(), pa.list_(pa.int32()), pa.int32()]
        assert table.schema.names == ["row", column, "label"]
        labels: list[Any] = [row["label"] for row in project.rows(track, "test")]
        assert [info["labels"][i] for i in table["label"].to_pylist()] == labels
    tokens = json.loads((project.folder / "reports" / "tokens.json").read_text())
    cut = tokens["finetune"]["splits"]["test"]["source"]
    assert cut["truncated_share"] == 1.0 and cut["lengths"]["max"] == 5


def test_shared_vocabulary(spoken: Project) -> None:
    spoken.params["tokenize"]["scratch"]["shared_vocabulary"] = True
    spoken.params["tokenize"]["scratch"]["source"]["algorithm"] = "bpe"
    assert spoken.prepare().code == 0
    assert spoken.tokenize().code == 0
    folder = spoken.folder / "models" / "tokenizers" / "scratch"
    assert (folder / "source.json").read_bytes() == (folder / "target.json").read_bytes()
    pair = load_tokenizers(folder)
    assert pair.source.decode(pair.source.encode("W 12 word").ids) == "W 12 word"
