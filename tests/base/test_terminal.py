"""What a stage prints, and the workspace that DVC's copies of the checkout belong to."""

import time
from pathlib import Path

import pytest

from scratchformer.base import phases, terminal
from scratchformer.base.terminal import Summary, print_summary, progress, say
from scratchformer.base.workspace import checkpoint_root, workspace_root


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(terminal.time, "monotonic", made)
    return made


def test_a_pipe_gets_a_plain_line_every_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("training", 100) as bar:
        for _ in range(100):
            clock.now += 1
            bar.advance(1, loss="1.5")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == "training: 10 of 100  90 s left  loss 1.5"
    assert lines[-1] == "training: 100 of 100  0 s left  loss 1.5"


def test_time_left_after_a_resume_counts_only_what_this_process_did(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("training", 100, completed=90) as bar:
        clock.now += 10
        bar.advance(5)
    assert capsys.readouterr().out == "training: 95 of 100  10 s left\n"


def test_nothing_done_and_nothing_to_do_are_no_errors(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for total in (0, 10):
        with progress("reading", total) as bar:
            clock.now += 11
            bar.advance(0, rows="none")
    assert "reading: 0 of 10  rows none" in capsys.readouterr().out


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("training", 3) as bar:
        for step in range(3):
            bar.advance(1, loss=f"{step}.5")
            say(f"[sample] {step} \\[kept]")
        time.sleep(0.2)
    shown = capsys.readouterr().out
    assert "3/3" in shown and "loss 2.5" in shown
    assert "[sample] 1 \\[kept]" in shown  # not taken for markup


def test_the_summary_escapes_what_looks_like_markup(capsys: pytest.CaptureFixture[str]) -> None:
    summary = Summary("prepare", [("rows", "[red]7[/]")], [Path("data/x")], ["[bold]low[/]"])
    print_summary(summary, {"start": 1.2})
    shown = capsys.readouterr().out
    assert "prepare  (1 s)" in shown and "data/x" in shown
    assert "[red]7[/]" in shown and "warning: [bold]low[/]" in shown


def test_every_second_belongs_to_the_innermost_part(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    phases.begin("start")
    clock.now += 2
    phases.turn_to("other")
    clock.now += 1
    with progress("evaluate: embedding texts", 3):
        clock.now += 40
        with pytest.raises(KeyError), phases.phase("validation"):
            clock.now += 5
            raise KeyError
        clock.now += 60
    with phases.phase("validation"):
        clock.now += 5
    clock.now += 0.25
    phases.turn_to("tracking")
    clock.now += 0.125
    found = {
        "embedding texts": 100, "validation": 10, "start": 2, "other": 1.25, "tracking": 0.125,
    }  # fmt: skip
    assert list(phases.spent().items()) == list(found.items())
    print_summary(Summary("evaluate", [], []), phases.spent())
    assert capsys.readouterr().out.splitlines() == [
        "evaluate  (113 s)", "  time  embedding texts 100 s; validation 10 s; start 2 s; other 1 s",
    ]  # fmt: skip


LONG = Summary(
    "evaluate",
    [("letters by their context (IGTree)", "word error rate 38.6 % [37.3, 39.7]  phonemes 8.6 %")],
    [Path("reports/a-folder-with-a-long-name/and-another-one-below-it/metrics.json")],
    ["a warning that is longer than a narrow terminal has room for, and is not cut either"],
    [("reports/report.html", "open it in a browser")],
)


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("color", [True, False])
def test_a_summary_fits_the_terminal_and_nothing_is_cut(
    width: int, color: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR" if color else "NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_summary(LONG, {"start": 3})
    shown = capsys.readouterr().out
    assert ("\x1b[33m" in shown) == color
    table = [line for line in shown.splitlines() if line.startswith(("┌", "│", "└"))]
    assert table and max(map(len, table)) <= width
    cells = [line.strip("│").split("│") for line in table[1:-1]]
    first, second = ("".join(part.strip() for part in side) for side in zip(*cells, strict=True))
    for text, column in ((LONG.rows[0], 0), (LONG.outputs[0].as_posix(), 1)):
        wanted = "".join((text[0] if column == 0 else str(text)).split())
        assert wanted in (first, second)[column].replace(" ", "")
    assert "…" not in shown and LONG.warnings[0] in shown


def test_into_a_pipe_every_row_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(LONG, {"start": 3})
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["evaluate  (3 s)", "  " + "  ".join(LONG.rows[0])]
    assert shown[2].split() == ["output", LONG.outputs[0].as_posix()]
    assert shown[-2:] == ["Look next at", "  reports/report.html  open it in a browser"]
    assert all(line.isascii() for line in shown)


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/home/me/project", "/home/me/project"),
        ("/home/me/project/.dvc/tmp/exps/standalone/tmpabc", "/home/me/project"),
        ("/home/me/project/.dvc/tmp/exps/tmpabc/nested", "/home/me/project"),
        ("/home/me/.dvc/tmp/exps-of-mine", "/home/me/.dvc/tmp/exps-of-mine"),
    ],
)
def test_the_workspace_of_dvc_copies(
    monkeypatch: pytest.MonkeyPatch, root: str, expected: str
) -> None:
    monkeypatch.setenv("DVC_ROOT", root)
    assert workspace_root() == Path(expected)
    assert checkpoint_root("finetune") == Path(expected) / ".checkpoints" / "finetune"


def test_without_dvc_the_workspace_is_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert workspace_root() == tmp_path.resolve()
