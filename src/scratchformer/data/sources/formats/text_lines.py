"""Lines of a text file, plain or gzipped, one at a time and never too long for memory."""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.contract import MAX_CHARACTERS

MAX_LINE_BYTES = 2 * 12 * MAX_CHARACTERS
"""Two texts of the greatest length; JSON may take twelve bytes a character: `\\ud83d\\ude00`."""

STDIN = Path("stdin")  # itself, not a file of that name: compared by identity

TOO_LONG = f"line has more than {MAX_LINE_BYTES:,} bytes"
_GZIP = b"\x1f\x8b"
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MAX_CONTROL_SHARE = 0.05
_KNOWN_BINARY = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; export it as CSV",
    b"PAR1": "a Parquet file; set source.format: parquet",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}


def read_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Number (from 1) and text of each line, without its end; None for a line that is too long.

    Bytes that are not UTF-8 become lone surrogates, which the contract rejects with the row they
    stand in: one bad line does not cost the file.

    Args:
        path: the file; `STDIN` stands for standard input, which may be empty.

    Raises:
        DataError: the file is missing, empty, binary, or a broken gzip archive.
    """
    if path is not STDIN and not path.is_file():
        raise DataError(f"{path}: no such file; the path is relative to {Path.cwd().name}/")
    try:
        with _open(path) as stream:
            head = stream.peek(4096)[:4096]
            if head or path is not STDIN:
                _demand_text(path, head)
            yield from _lines(stream)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: broken gzip archive ({error}); fetch it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def is_gzip(path: Path) -> bool:
    """Whether the content, not the name, is gzipped."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _open(path: Path) -> io.BufferedReader:
    raw: Any = sys.stdin.buffer if path is STDIN else path.open("rb")
    stream = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
    if stream.peek(2)[:2] == _GZIP:
        return io.BufferedReader(gzip.open(stream, "rb"))
    return cast(io.BufferedReader, stream)


def _lines(stream: io.BufferedReader) -> Iterator[tuple[int, str | None]]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # a mark that some editors put in front
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE_BYTES)
            yield number, None
        else:
            yield number, line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _demand_text(path: Path, head: bytes) -> None:
    if not head:
        raise DataError(f"{path}: the file is empty")
    for mark, what in _KNOWN_BINARY.items():
        if head.startswith(mark):
            raise DataError(f"{path}: expected text, found {what}")
    control = len(_CONTROL.findall(head))
    if control > _MAX_CONTROL_SHARE * len(head) and control > 1:
        raise DataError(
            f"{path}: expected text, found a binary file "
            f"({control} of the first {len(head)} bytes are control characters)"
        )
