"""Several processes at once: never more than the workers, all commands, none left behind."""

import psutil
import pytest

from scratchformer.search.runs import processes
from scratchformer.search.runs.processes import run_processes


def sleep(seconds):
    return ["timeit", "-n1", "-r1", "-s", "import time", f"time.sleep({seconds})"]


def test_every_command_runs_and_never_more_than_the_workers(tmp_path):
    waiting, running, most, codes = [sleep(0.2)] * 4 + [["no_such_module"]], 0, 0, []

    def next_command():
        nonlocal running, most
        if not waiting:
            return None
        running += 1
        most = max(most, running)
        return waiting.pop()

    def on_exit(code):
        nonlocal running
        running -= 1
        codes.append(code)

    run_processes(next_command, 2, tmp_path / "log", on_exit)
    assert (most, running, sorted(codes)) == (2, 0, [0, 0, 0, 0, 1])
    assert "no_such_module" in (tmp_path / "log").read_text()


def test_a_command_may_come_after_there_was_none(tmp_path):
    """A trial whose process died is taken up again, though another has found nothing to do."""
    answers = [sleep(0), None, sleep(0), None, None]
    codes = []
    run_processes(lambda: answers.pop(0), 2, tmp_path / "log", codes.append)
    assert codes == [0, 0]


def test_an_error_ends_those_that_run(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_SECONDS_TO_SAVE", 0.5)
    begun = [sleep(60.25), sleep(60.25)]

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_processes(lambda: begun.pop() if begun else None, 2, tmp_path / "log", on_poll=stop)
    left = [each for each in psutil.Process().children() if "sleep(60.25)" in str(each.cmdline())]
    for each in left:
        each.kill()
    assert not begun and not left
