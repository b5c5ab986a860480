"""prepare and tokenize in several processes: the same bytes as one, and nothing half-written."""

import threading
import time
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import pytest
from tests.data.conftest import Project

from scratchformer.runtime.workers import set_workers


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Enough batches of few rows; the workers take them as they come."""
    from scratchformer.data.preparation import prepare, statistics
    from scratchformer.data.tokenized import encode

    for module in (prepare, statistics, encode):
        monkeypatch.setattr(module, "BATCH_ROWS", 50)
    yield
    set_workers(1)


def write_rows(project: Project) -> None:
    """Good, bad, repeated and merged rows; the other track has too few for workers."""
    lines = [
        f'{{"source": "w{i % 700} Ä{i % 3}", "target": ["t{i}</s>", "ü"]}}' for i in range(999)
    ]
    lines[70:80] = ['{"source": " ", "target": "x"}', "not JSON"] * 5
    project.translate(train=project.write("a.jsonl", "\n".join(lines)), merge_references=True)
    rows = [f"text {i % 80},kind {i % 3}" for i in range(99)]
    project.classify(train=project.write("b.csv", "text,label\n" + "\n".join(rows)))


def written(project: Project, processes: int) -> dict[str, bytes]:
    project.params["run"]["processes"] = processes
    for stage in (project.prepare, project.tokenize):
        outcome = stage()
        assert outcome.code == 0, outcome.error
    return {
        path.as_posix(): path.read_bytes()
        for folder in ("data", "models/tokenizers", "reports")
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_any_number_of_workers_writes_the_same_bytes(project: Project) -> None:
    write_rows(project)
    alone = written(project, 1)
    assert alone["reports/rejected.jsonl"].count(b"\n") == 10
    assert written(project, 3) == alone


def test_a_killed_worker_leaves_nothing_half_written(project: Project) -> None:
    write_rows(project)
    project.params["run"]["processes"] = 2
    killer = threading.Thread(target=kill_first_worker)
    killer.start()
    outcome = project.prepare()
    killer.join()
    assert outcome.code == 75
    assert outcome.error.startswith("prepare: a worker process has ended")
    assert outcome.error.count("\n") == 1
    assert not project.leftovers()
    assert not Path("data/prepared").exists()


def kill_first_worker() -> None:
    """As soon as there is one."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for worker in active_children():
            worker.kill()
            return
        time.sleep(0.005)
