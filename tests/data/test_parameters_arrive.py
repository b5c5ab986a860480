"""Every key of the section `prepare` in params.yaml reaches what it promises to change."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.committed import DEFAULT_PARAMS
from tests.data.conftest import Project, csv_of

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
    "prepare.finetune.source.max_per_label": max_per_label,
    **{
        f"prepare.{track}.{key}": shown
        for track in ("scratch", "finetune")
        for key, shown in {
            "task": task, "source.kind": kind, "source.name": name,
            "split.valid": share("valid"), "split.test": share("test"),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("key", ARRIVES)
def test_a_key_arrives(project: Project, key: str) -> None:
    assert ARRIVES[key](project, "scratch" if ".scratch." in key else "finetune")


def leaves(section: Mapping[str, Any], place: str) -> Iterator[str]:
    for key, value in section.items():
        here = f"{place}.{key}"
        yield from leaves(value, here) if isinstance(value, Mapping) else [here]


def test_every_key_is_here() -> None:
    params = YAML(typ="safe").load(DEFAULT_PARAMS)
    assert sorted(ARRIVES) == sorted(leaves(params["prepare"], "prepare"))
