"""What the stage tokenize says, and what it leaves beside the tokenizers."""

import json
from typing import Any

from tests.data.conftest import Project, csv_of

from scratchformer.data.tokenized import read as tokenized
from scratchformer.data.tokenized.summary import MUCH_UNKNOWN, describe_track, warn_of_track
from scratchformer.params import Params, Pretrained
from scratchformer.pretrained.hub.locating import locate
from scratchformer.stages.tokenize import tokenize


class Silent:
    """Stands for the tracker, and hears nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def test_unknown_words_of_the_validation_split_are_told(project: Project) -> None:
    """The vocabulary is made of the training split, where nothing is unknown."""
    project.classify(
        track="scratch",
        train=project.write("a.csv", csv_of(rows=20)),
        valid=project.write("v.csv", "text,label\nzebra,kind 0\nyak,kind 1\n"),
        test=project.write("t.csv", "text,label\nfor a test,kind 0\nfor another,kind 1\n"),
    )
    project.params["tokenize"]["scratch"]["source"]["algorithm"] = "word"
    assert project.prepare().code == 0 and project.tokenize().code == 0
    tokens = json.loads((project.folder / "reports/tokens.json").read_text())["scratch"]
    splits = tokens["splits"]
    rates = [splits[name]["source"]["unknown_rate"] for name in ("train", "valid")]
    assert rates == [0.0, 1.0]  # EOS is no word
    (_, line) = describe_track("scratch", tokens)[1]
    assert "unknown: 0.00% of train, 100.00% of valid" in line
    (warning,) = warn_of_track("scratch", tokens)
    assert "100% of the source tokens of valid are not in the vocabulary" in warning


def test_the_warnings_begin_above_their_thresholds() -> None:
    def told(unknown: float, cut: float) -> list[str]:
        valid = {"source": {"unknown_rate": unknown, "truncated_share": cut}}
        return warn_of_track("scratch", {"max_source_length": 9, "splits": {"valid": valid}})

    assert told(MUCH_UNKNOWN, 0.1) == []
    (unknown,) = told(0.06, 0.0)
    assert "6% of the source tokens" in unknown
    (cut,) = told(0.0, 0.11)
    assert "11% of the source texts of valid are cut to 9 tokens" in cut


def test_rules_lie_beside_the_tokenizers(project: Project) -> None:
    text = project.write("a.csv", csv_of(rows=40))
    project.classify(track="finetune", train=text)
    project.params["tokenize"]["finetune"]["max_length"] = 7
    project.params["pretrained"]["prefix"] = "say "
    scratch = project.params["tokenize"]["scratch"]
    scratch["max_source_length"], scratch["max_target_length"] = 5, 9
    assert project.prepare().code == 0 and project.tokenize().code == 0

    def rules(track: str) -> dict[str, Any]:
        return json.loads((project.folder / f"models/tokenizers/{track}/inputs.json").read_text())

    usual = {
        "pairs": False, "segments": False, "truncation_side": "right", "source_language": None,
        "target_language": None,
    }  # fmt: skip
    assert rules("scratch") == {
        **usual, "max_source_length": 5, "max_target_length": 9, "prefix": "",
    }  # fmt: skip
    assert rules("finetune") == {
        **usual, "max_source_length": 7, "max_target_length": None, "prefix": "say ",
    }  # fmt: skip
    info = tokenized.load_tokenized_info("scratch")
    assert (info["max_source_length"], info["max_target_length"]) == (5, 9)
    ids = tokenized.open_split("finetune", "train")["source"].to_pylist()
    assert {tuple(row[:2]) for row in ids} == {(101, 2360)} and max(map(len, ids)) == 7  # [CLS] say


def test_pairs_have_segments_where_the_model_is_told(project: Project) -> None:
    lines = [f"first [SEP] {i},second {i},kind {i % 2}\n" for i in range(40)]
    text = project.write("a.csv", "a,b,c\n" + "".join(lines))
    columns = {"text": "a", "text_pair": "b", "label": "c"}
    for track in ("scratch", "finetune"):
        project.classify(track=track, train=text, columns=columns)
    assert project.prepare().code == 0 and project.tokenize().code == 0
    scratch = tokenized.open_split("scratch", "train")
    assert scratch.column_names == ["row", "source", "label"]
    assert all(ids.count(2) == 2 for ids in scratch["source"].to_pylist())  # EOS ends each text
    finetune = tokenized.open_split("finetune", "train")
    assert finetune.column_names == ["row", "source", "segments", "label"]
    for ids, segments in zip(
        finetune["source"].to_pylist(), finetune["segments"].to_pylist(), strict=True
    ):
        second = segments.index(1)
        assert segments == [0] * second + [1] * (len(ids) - second)
        assert ids[second - 1] == ids[-1] == 102 and ids.count(102) == 2  # a typed [SEP] is none


def test_a_model_outside_is_told(project: Project) -> None:
    packaged = Pretrained.model_validate(project.params["pretrained"])
    project.params["pretrained"] = {"kind": "folder", "name": str(locate(packaged))}
    assert project.prepare().code == 0
    warnings = []
    for settings in (project.params, {**project.params, "pretrained": packaged.model_dump()}):
        summary = tokenize(Params.model_validate(settings), Silent())  # type: ignore[arg-type]
        warnings.append([line for line in summary.warnings if "DVC will not notice" in line])
    assert list(map(len, warnings)) == [1, 0]


def test_tokenizers_learn_from_a_sample_of_many_rows(project: Project) -> None:
    from scratchformer.data.tokenized.encode import training_texts

    lines = (f"w{number},a{number}" for number in range(4000))
    project.translate(train=project.write("a.csv", "source,target\n" + "\n".join(lines)))
    assert project.prepare().code == 0
    rows = [(row["source"], row["targets"][0]) for row in project.rows("scratch", "train")]
    drawn = list(training_texts("scratch", 600, "source"))
    assert abs(len(drawn) - 600) < 80, "3.6 standard deviations"
    assert drawn == list(training_texts("scratch", 600, "source"))
    assert list(training_texts("scratch", 600, "targets")) == [f"a{word[1:]}" for word in drawn]
    assert set(drawn) <= set(training_texts("scratch", 900, "source")), "more rows, not others"
    for most in (len(rows), 10**6):
        assert list(training_texts("scratch", most, "source")) == [source for source, _ in rows]
