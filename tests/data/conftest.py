"""A scratch project: params.yaml and raw files in a temporary folder, and its two data stages."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from tests.committed import DEFAULT_PARAMS

ROOT = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """How a stage ended: what the shell and the person see."""

    code: int
    error: str


class Project:
    """Edit `params`, write files, run a stage as its command does."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.params: dict[str, Any] = YAML(typ="safe").load(DEFAULT_PARAMS)
        self.params["tracking"]["enabled"] = False
        self.params["prepare"]["max_bad_share"] = 0.1
        for track in ("scratch", "finetune"):
            self.generate(track)

    def generate(self, track: str, rows: int = 60) -> None:
        """Make a track a small task that cannot fail."""
        self.params["prepare"][track] = {
            "task": "seq2seq",
            "source": {"kind": "generated", "name": "reverse", "rows": rows},
            "split": {"valid": 0.2, "test": 0.2},
        }

    def classify(self, *, track: str = "finetune", **source: Any) -> None:
        """Make a track a classification of the person's own files."""
        self._files(track, "classification", source)

    def translate(self, *, track: str = "scratch", **source: Any) -> None:
        """Make a track a sequence-to-sequence task of the person's own files."""
        self._files(track, "seq2seq", source)

    def _files(self, track: str, task: str, source: Mapping[str, Any]) -> None:
        self.params["prepare"][track] = {
            "task": task,
            "source": {"kind": "files", **source},
            "split": {"valid": 0.2, "test": 0.2},
        }

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def prepare(self) -> Outcome:
        from scratchformer.stages.prepare import prepare

        return self._run(prepare)

    def tokenize(self) -> Outcome:
        from scratchformer.stages.tokenize import tokenize

        return self._run(tokenize)

    def _run(self, stage: Callable[..., Any]) -> Outcome:
        from scratchformer.stages.runner import run_stage

        YAML().dump(self.params, self.folder / "params.yaml")
        self._capsys.readouterr()
        code = 0
        try:
            run_stage(stage)
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, self._capsys.readouterr().err)

    def rows(self, track: str, split: str) -> list[dict[str, Any]]:
        path = self.folder / "data" / "prepared" / track / f"{split}.parquet"
        return pq.read_table(path).to_pylist()

    def all_rows(self, track: str) -> list[dict[str, Any]]:
        return [row for split in ("train", "valid", "test") for row in self.rows(track, split)]

    def report(self, track: str) -> dict[str, Any]:
        return json.loads((self.folder / "reports" / "data.json").read_text())[track]

    def rejected(self) -> list[dict[str, Any]]:
        lines = (self.folder / "reports" / "rejected.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in lines.splitlines()]

    def leftovers(self) -> list[str]:
        """Prepared data, half or whole, and temporary files."""
        data = self.folder / "data"
        hidden = [path.name for path in self.folder.rglob(".*")]
        return hidden + ([path.name for path in data.glob("prepared*")] if data.exists() else [])


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Project:
    import signal

    monkeypatch.chdir(tmp_path)
    for name in ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "DVC_ROOT", "SCRATCHFORMER_DEBUG"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    # run_stage, which really starts a process, changes these for good.
    monkeypatch.setattr("scratchformer.stages.runner.set_threads", lambda threads: None)
    monkeypatch.setattr(signal, "signal", lambda *args: None)
    return Project(tmp_path, capsys)


def csv_of(labels: int = 2, rows: int = 60) -> str:
    """A clean classification file: text,label."""
    lines = [f"text number {i} of kind {i % labels},kind {i % labels}" for i in range(rows)]
    return "text,label\n" + "\n".join(lines) + "\n"
