"""Published data sets go through unchanged in what their scores are counted on."""

from pathlib import Path

import pytest
from tests.data.conftest import Project


def link(project: Project, folder: Path) -> None:
    (project.folder / "data" / "raw").mkdir(parents=True)
    (project.folder / "data" / "raw" / folder.name).symlink_to(folder)


@pytest.fixture
def raw(project: Project, shared_data: Path, request: pytest.FixtureRequest) -> str:
    link(project, shared_data / request.param)
    return f"data/raw/{request.param}"


@pytest.mark.parametrize("raw", ["multi30k"], indirect=True)
def test_multi30k(project: Project, raw: str) -> None:
    files = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
    project.translate(
        format="parallel_text",
        **{split: f"{raw}/{name}.en.gz" for split, name in files.items()},
        **{f"{split}_target": f"{raw}/{name}.de.gz" for split, name in files.items()},
    )
    assert project.prepare().code == 0
    report = project.report("scratch")
    rows = {split: part["rows"] for split, part in report["splits"].items()}
    # One validation line is also in train, which gives way; repeated training pairs stay.
    assert rows == {"train": 28_999, "valid": 1_014, "test": 1_000}
    first = project.rows("scratch", "test")[0]
    assert first["source"] == "A man in an orange hat starring at something."
    assert first["targets"] == ["Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt."]


@pytest.mark.parametrize("raw", ["cmudict_g2p"], indirect=True)
def test_cmudict_benchmark(project: Project, raw: str) -> None:
    project.translate(
        train=f"{raw}/train.tsv.gz", valid=f"{raw}/dev.tsv.gz", test=f"{raw}/test.tsv.gz",
        header=False, columns={"source": "0", "target": "1"}, merge_references=True,
    )
    assert project.prepare().code == 0
    splits = project.report("scratch")["splits"]
    assert splits["test"]["rows"] == 11_994 and splits["valid"]["rows"] == 5_447
    assert splits["test"]["references"] == 12_828
    # 721 words of the published dev set are in its training set too.
    assert splits["train"]["rows"] == 102_068 - 721


@pytest.mark.parametrize("raw", ["sst2"], indirect=True)
def test_sst2(project: Project, raw: str) -> None:
    project.classify(
        train=f"{raw}/train.tsv.gz", test=f"{raw}/dev.tsv.gz", columns={"text": "sentence"},
        label_names={"0": "negative", "1": "positive"},
    )
    assert project.prepare().code == 0
    splits = project.report("finetune")["splits"]
    assert splits["test"]["labels"] == {"0": 428, "1": 444}
    assert project.rejected() == []
