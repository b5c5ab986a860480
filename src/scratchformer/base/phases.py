"""Where the time of a stage goes, by named parts; the last table of the stage shows it.

Every second belongs to one part: the innermost that was open.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

_open = ["start"]
_seconds: dict[str, float] = {}
_since = [time.monotonic()]


def begin(name: str) -> None:
    """Forget all parts; `name` is open until `turn_to`."""
    _open[:], _since[0] = [name], time.monotonic()
    _seconds.clear()


def turn_to(name: str) -> None:
    """The innermost open part ends, and `name` begins in its place."""
    _book()
    _open[-1] = name


@contextmanager
def phase(name: str) -> Iterator[None]:
    """What happens inside is `name`, also if it comes again."""
    _book()
    _open.append(name)
    try:
        yield
    finally:
        _book()
        _open.pop()


def spent() -> dict[str, float]:
    """Seconds of every part so far, the longest first."""
    _book()
    return dict(sorted(_seconds.items(), key=lambda part: -part[1]))


def _book() -> None:
    now = time.monotonic()
    _seconds[_open[-1]] = _seconds.get(_open[-1], 0.0) + now - _since[0]
    _since[0] = now
