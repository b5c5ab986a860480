"""Every key of the sections `prepare` and `tokenize` reaches what it promises to change."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from tests.data.conftest import Project, csv_of

from scratchformer.base.layout import SPLITS
from scratchformer.params import HubSource, TokenizeScratch, load_params
from scratchformer.stages import tokenize as stage

Shown = Callable[[Project, str], bool]


def rows_of(project: Project, track: str) -> dict[str, int]:
    splits = project.report(track)["splits"]
    return {split: figures["rows"] for split, figures in splits.items()}


def bad_share(project: Project, track: str) -> bool:
    """One bad row in 21 passes a limit of 0.05 and stops at 0.04."""
    project.classify(train=project.write("a.csv", csv_of(rows=20) + "a\n"))
    codes = []
    for limit in (0.05, 0.04):
        project.params["prepare"]["max_bad_share"] = limit
        codes.append(project.prepare().code)
    return codes == [0, 3]


def task(project: Project, track: str) -> bool:
    """The same file, read for either task."""
    train = project.write("a.csv", csv_of().replace("text,label", "a,b", 1))
    project.classify(track=track, train=train, columns={"text": "a", "label": "b"})
    assert project.prepare().code == 0
    labelled = "label" in project.rows(track, "test")[0]
    project.translate(track=track, train=train, columns={"source": "a", "target": "b"})
    assert project.prepare().code == 0
    return labelled and "targets" in project.rows(track, "test")[0]


def kind(project: Project, track: str) -> bool:
    assert project.prepare().code == 0
    generated = project.report(track)["name"]
    project.classify(track=track, train=project.write("a.csv", csv_of()))
    assert project.prepare().code == 0
    return (generated, project.report(track)["name"]) == ("reverse", "files")


def name(project: Project, track: str) -> bool:
    assert project.prepare().code == 0
    before = project.report(track)["name"]
    project.params["prepare"][track]["source"]["name"] = "identity"
    assert project.prepare().code == 0
    return (before, project.report(track)["name"]) == ("reverse", "identity")


def share(split: str) -> Shown:
    def shown(project: Project, track: str) -> bool:
        found = []
        for value in (0.1, 0.3):
            project.params["prepare"][track]["split"][split] = value
            assert project.prepare().code == 0
            found.append(rows_of(project, track)[split])
        # Of 60 rows. They are drawn by digest, so a share is kept about.
        near = [abs(rows - asked) < 6 for rows, asked in zip(found, (6, 18), strict=True)]
        return all(near) and found[1] > found[0]

    return shown


def max_per_label(project: Project, track: str) -> bool:
    found = []
    for limit in (12, 15):
        project.params["prepare"][track] |= {
            "task": "classification",
            "source": {"kind": "package", "name": "icd10cm", "max_per_label": limit},
        }
        assert project.prepare().code == 0
        labels = [part["labels"] for part in project.report(track)["splits"].values()]
        found.append({sum(part.get(label, 0) for part in labels) for label in labels[0]})
    return found == [{12}, {15}]


ARRIVES: dict[str, Shown] = {
    "prepare.max_bad_share": bad_share,
    **{
        f"prepare.{track}.{key}": shown
        for track in ("scratch", "finetune")
        for key, shown in {
            "source.max_per_label": max_per_label,
            "task": task, "source.kind": kind, "source.name": name,
            "split.valid": share("valid"), "split.test": share("test"),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("key", ARRIVES)
def test_a_key_arrives(project: Project, key: str) -> None:
    assert ARRIVES[key](project, "scratch" if ".scratch." in key else "finetune")


# --- the keys of sources that the default does not have ------------------------------------------


def read(project: Project, task: str = "seq2seq", **source: Any) -> Project | None:
    """The prepared project; None where `prepare` refuses the source."""
    project.params["prepare"]["scratch"] |= {"task": task, "source": source}
    return project if project.prepare().code == 0 else None


def pairs(project: Project, name: str, first: int = 0, header: str = "source,target\n") -> str:
    lines = (f"word {number},answer {number}\n" for number in range(first, first + 30))
    return project.write(name, header + "".join(lines))


def of(project: Project | None, split: str, column: str) -> set[str]:
    assert project is not None
    values = [row[column] for row in project.rows("scratch", split)]
    return {each for value in values for each in (value if isinstance(value, list) else [value])}


def generated_rows(project: Project) -> bool:
    found = []
    for rows in (40, 60):
        project.generate("scratch", rows)
        assert project.prepare().code == 0
        found.append(sum(rows_of(project, "scratch").values()))
    return found == [40, 60]


def file_format(project: Project) -> bool:
    """The same file, whose name does not say that its columns are parted by tabs."""
    lines = "".join(f"word {n}\tanswer {n}\n" for n in range(60))
    name = project.write("words.csv", "source\ttarget\n" + lines)
    as_tabs = read(project, kind="files", train=name, format="tsv")
    return as_tabs is not None and read(project, kind="files", train=name, format="csv") is None


def file_of(split: str) -> Callable[[Project], bool]:
    """The rows of this file are in this split, and in no other."""

    def shown(project: Project) -> bool:
        names = {each: pairs(project, f"{each}.csv", 100 * n) for n, each in enumerate(SPLITS)}
        read(project, kind="files", **names)
        first = 100 * list(SPLITS).index(split)
        return of(project, split, "source") == {f"word {n}" for n in range(first, first + 30)}

    return shown


def target_file_of(split: str) -> Callable[[Project], bool]:
    """Of parallel text: the answers of this split come from this file."""

    def shown(project: Project) -> bool:
        files = {}
        for number, each in enumerate(SPLITS):
            for key, word in ((each, "word"), (f"{each}_target", "answer")):
                lines = "".join(f"{word} {n}\n" for n in range(100 * number, 100 * number + 30))
                files[key] = project.write(f"{key}.txt", lines)
        read(project, kind="files", format="parallel_text", **files)
        first = 100 * list(SPLITS).index(split)
        return of(project, split, "targets") == {f"answer {n}" for n in range(first, first + 30)}

    return shown


def columns(project: Project) -> bool:
    name = pairs(project, "a.csv")
    read(project, kind="files", train=name, columns={"source": "target", "target": "source"})
    return all(source.startswith("answer") for source in of(project, "train", "source"))


def header(project: Project) -> bool:
    """Without one, the first line is a row, and columns have numbers."""
    name = pairs(project, "a.csv", header="")
    by_number = {"source": "0", "target": "1"}
    read(project, kind="files", train=name, header=False, columns=by_number)
    rows = sum(rows_of(project, "scratch").values())
    return rows == 30 and read(project, kind="files", train=name, columns=by_number) is None


def label_names(project: Project) -> bool:
    name = project.write("a.csv", csv_of())
    words = {"kind 0": "even", "kind 1": "odd"}
    read(project, "classification", kind="files", train=name, label_names=words)
    info = json.loads(Path("data/prepared/scratch/info.json").read_text())
    return {label["name"]: label["description"] for label in info["labels"]} == words


def merged(project: Project) -> bool:
    """Two answers to one source are one row, or two."""
    lines = "".join(f"word {n},answer {n}\nword {n},reply {n}\n" for n in range(30))
    name = project.write("a.csv", "source,target\n" + lines)
    found = []
    for merge in (True, False):
        read(project, kind="files", train=name, merge_references=merge)
        found.append(sum(rows_of(project, "scratch").values()))
    return found == [30, 60]


HUB: dict[str, Any] = {
    "kind": "hub", "name": "owner/rows", "config": "small", "revision": "0123456789" * 4,
    "train_split": "part1", "valid_split": "part2", "test_split": "part3",
    "columns": {"source": "en", "target": "de"}, "merge_references": True,
}  # fmt: skip


def hub(project: Project) -> list[tuple[HubSource, str]]:
    """What the hub is asked for, where every key has a value of its own."""
    asked = []

    def load(source: HubSource, split: str) -> Any:
        asked.append((source, split))
        first = 100 * int(split[-1])
        rows = range(first, first + 30)
        return datasets.Dataset.from_dict(
            {"en": [f"word {n // 2}" for n in rows], "de": [f"answer {n}" for n in rows]}
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scratchformer.data.sources.hub._load", load)
        assert read(project, **HUB) is not None
    return asked


def from_hub(key: str) -> Callable[[Project], bool]:
    return lambda project: {getattr(source, key) for source, _ in hub(project)} == {HUB[key]}


def hub_split(split: str) -> Callable[[Project], bool]:
    def shown(project: Project) -> bool:
        hub(project)
        first = 50 * int(HUB[f"{split}_split"][-1])  # of two answers each, merged
        return of(project, split, "source") == {f"word {n}" for n in range(first, first + 15)}

    return shown


SOURCE_ARRIVES: dict[str, Callable[[Project], bool]] = {
    "rows": generated_rows,
    "format": file_format,
    **{split: file_of(split) for split in SPLITS},
    **{f"{split}_target": target_file_of(split) for split in SPLITS},
    "columns": columns,
    "header": header,
    "label_names": label_names,
    "merge_references": merged,
    "config": from_hub("config"),
    "revision": from_hub("revision"),
    **{f"{split}_split": hub_split(split) for split in SPLITS},
}


@pytest.mark.parametrize("key", SOURCE_ARRIVES)
def test_a_key_of_a_source_arrives(project: Project, key: str) -> None:
    assert SOURCE_ARRIVES[key](project)


# --- tokenize -----------------------------------------------------------------------------------

Tokens = dict[str, Any]  # of one track after `tokenize`: the report, and the rows of train
Tokenize = Callable[..., Tokens]


@pytest.fixture
def tokenize(project: Project) -> Tokenize:
    """Tokenize a prepared translation of words in both cases, `tokenize.scratch` changed."""
    rows = [f"A{number:03} CD a cd,D{number:03} FG fg d" for number in range(40)]
    text = "\n".join(["source,target", *rows]) + "\n"
    project.translate(train=project.write("pairs.csv", text))
    assert project.prepare().code == 0

    def run(**changes: Any) -> Tokens:
        params = load_params(Path("params.yaml"))
        scratch = params.tokenize.scratch.model_dump()
        for key, value in changes.items():
            side, _, name = key.rpartition("__")
            (scratch[side] if side else scratch)[name] = value
        chosen = params.tokenize.model_copy(
            update={"scratch": TokenizeScratch.model_validate(scratch)}
        )
        made = Path(tempfile.mkdtemp(dir="."))
        tokenizers, folder = made / "tokenizers", made / "tokenized"
        report = stage._scratch(
            params.model_copy(update={"tokenize": chosen}), tokenizers, folder, lambda rows: None
        )
        table = pa.ipc.open_file(str(folder / "train.arrow")).read_all()
        return {**report, **{side: table[side].to_pylist() for side in ("source", "target")}}

    return run


def sizes(key: str, side: str, *values: Any) -> Callable[[Tokenize], bool]:
    """Every value gives another vocabulary of `side`, and the other side stays as it was."""

    def shown(tokenize: Tokenize) -> bool:
        words = {} if key.endswith("algorithm") else {f"{side}__algorithm": "word"}
        found = [tokenize(**words, **{key: value}) for value in values]
        other = "target" if side == "source" else "source"
        same = {report[f"{other}_vocab_size"] for report in found}
        return len({report[f"{side}_vocab_size"] for report in found}) == len(values) and (
            len(same) == 1
        )

    return shown


def longest(side: str) -> Callable[[Tokenize], bool]:
    def shown(tokenize: Tokenize) -> bool:
        words = {f"{side}__algorithm": "character", f"{side}__vocab_size": 60}
        found = [tokenize(**words, **{f"max_{side}_length": n})[side] for n in (3, 5)]
        return [max(map(len, rows)) for rows in found] == [3, 5]

    return shown


def shared(tokenize: Tokenize) -> bool:
    """One vocabulary that knows the tokens of both sides."""
    apart, one = (tokenize(shared_vocabulary=value) for value in (False, True))
    return one["source_vocab_size"] == one["target_vocab_size"] > apart["source_vocab_size"]


def sampled(tokenize: Tokenize) -> bool:
    """Of few rows, fewer words are known."""
    words = {"source__algorithm": "word"}
    few, many = (tokenize(**words, sample_rows=rows)["source_vocab_size"] for rows in (9, 10**6))
    return 4 < few < many


def length_of_the_pretrained(tokenize: Tokenize) -> bool:
    params = load_params(Path("params.yaml"))
    found = []
    for length in (4, 6):
        limit = params.tokenize.finetune.model_copy(update={"max_length": length})
        chosen = params.tokenize.model_copy(update={"finetune": limit})
        made = Path(tempfile.mkdtemp(dir="."))
        changed = params.model_copy(update={"tokenize": chosen})
        report = stage._finetune(changed, made / "a", made / "b", lambda rows: None)
        found.append(report["max_source_length"])
    return found == [4, 6]


TOKENIZE_ARRIVES: dict[str, Callable[[Tokenize], bool]] = {
    "tokenize.scratch.shared_vocabulary": shared,
    "tokenize.scratch.sample_rows": sampled,
    "tokenize.scratch.max_source_length": longest("source"),
    "tokenize.scratch.max_target_length": longest("target"),
    "tokenize.finetune.max_length": length_of_the_pretrained,
    **{
        f"tokenize.scratch.{side}.{key}": sizes(f"{side}__{key}", side, *values)
        for side in ("source", "target")
        for key, values in {
            "algorithm": ("character", "word"), "vocab_size": (20, 22), "lowercase": (False, True),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("key", TOKENIZE_ARRIVES)
def test_a_key_of_tokenize_arrives(tokenize: Tokenize, key: str) -> None:
    assert TOKENIZE_ARRIVES[key](tokenize)
