"""What a person sees while a stage runs and when it ends."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scratchformer.base.phases import phase

if TYPE_CHECKING:
    from rich.table import Table

# Control characters but the line break; C1 (from 128 on) has no pictures.
_PICTURES = {chr(code): chr(0x2400 + code) for code in range(32) if code != ord("\n")}
_PICTURES |= {chr(code): "\ufffd" for code in range(127, 160)}
_EVERY = 10.0  # seconds between two plain lines


@dataclass(frozen=True)
class Summary:
    """The end of a stage: a short table, where its outputs are, and what deserves attention."""

    title: str
    rows: list[tuple[str, str]]
    outputs: list[Path]
    warnings: list[str] = field(default_factory=list)
    look: list[tuple[str, str]] = field(default_factory=list)  # what to look at next, and how


class Progress(Protocol):
    """What `progress` yields."""

    def advance(self, amount: float = 1, **fields: str) -> None:
        """Move on by `amount`; `fields` (loss="1.23") are shown beside the bar."""


class _Bar:
    """A moving bar, for terminals."""

    def __init__(self, bar: "object", task: int) -> None:
        self._bar, self._task, self._shown = bar, task, ""

    def advance(self, amount: float = 1, **fields: str) -> None:
        if fields:
            self._shown = "  ".join(f"{name} {value}" for name, value in fields.items())
        self._bar.update(self._task, advance=amount, fields=self._shown)  # type: ignore[attr-defined]


class _Lines:
    """A plain line now and then, for logs and pipes."""

    def __init__(self, description: str, total: float, completed: float) -> None:
        self._description, self._total, self._completed = description, total, completed
        self._done, self._shown = 0.0, ""
        self._start = self._last = time.monotonic()

    def advance(self, amount: float = 1, **fields: str) -> None:
        self._done += amount
        if fields:
            self._shown = "  ".join(f"{name} {value}" for name, value in fields.items())
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            done = self._completed + self._done
            left = ""
            if self._done:
                pace = (now - self._start) / self._done
                left = f"{pace * (self._total - done):,.0f} s left  "
            line = f"{self._description}: {done:,.0f} of {self._total:,.0f}  {left}{self._shown}"
            print(line.rstrip(), flush=True)


@contextmanager
def progress(description: str, total: float, completed: float = 0) -> Iterator[Progress]:
    """Show how far a loop of `total` steps is; `completed` of them were done before (a resume).

    Its time is that of a part called as the words after the colon: "evaluate: embedding texts".
    """
    with phase(description.rpartition(": ")[2]):
        if sys.stdout.isatty():
            yield from _bar(description, total, completed)
        else:
            yield _Lines(description, total, completed)


def _bar(description: str, total: float, completed: float) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[fields]}"),
    )
    with RichProgress(*columns) as bar:
        task = bar.add_task(description, total=total, completed=int(completed), fields="")
        yield _Bar(bar, task)


def say(message: str) -> None:
    """One line of news from inside a stage (a validation score, a sample, an early stop)."""
    print(visible(message), flush=True)


def print_summary(summary: Summary, parts: Mapping[str, float]) -> None:
    """Print the table that ends a stage: as wide as the terminal, or, into a file or a pipe, one
    line a row, however long, that other programs can read.

    Args:
        parts: seconds of the parts of the stage.
    """
    from rich.console import Console
    from rich.markup import escape

    title = f"{summary.title}  ({sum(parts.values()):,.0f} s)"
    long = [f"{name} {seconds:,.0f} s" for name, seconds in parts.items() if seconds >= 0.5]
    time_row = [("time", "; ".join(long))] if len(long) > 1 else []
    rows = [*summary.rows, *time_row, *(("output", path.as_posix()) for path in summary.outputs)]
    console = Console()
    if console.is_terminal:
        console.print(_table(title, rows))
    else:
        print(title)
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            print(visible(f"  {name:{width}}  {value}"))
    for warning in summary.warnings:
        console.print(f"[yellow]warning[/]: {escape(visible(warning))}", soft_wrap=True)
    if summary.look:
        console.print("\nLook next at", soft_wrap=True)
        width = max(len(how) for how, _ in summary.look)
        for how, what in summary.look:
            console.print(f"  {escape(how):{width}}  {escape(what)}", soft_wrap=True)


def _table(title: str, rows: list[tuple[str, str]]) -> "Table":
    """For a person's eyes: nothing is cut, long cells are folded."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    for _ in range(2):
        table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(escape(visible(name)), escape(visible(value)))
    return table


def warn(message: str) -> None:
    """One line about something that does not stop the stage."""
    print(f"warning: {visible(message)}", file=sys.stderr, flush=True)


def visible(message: str) -> str:
    """Rows of data are shown in messages: their control characters must not reach the terminal,
    where an escape sequence renames windows and hides text. Shown as the pictures of Unicode."""
    return "".join(_PICTURES.get(character, character) for character in message)
