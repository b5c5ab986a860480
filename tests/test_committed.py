"""No test reads a file that a person's own run changes: it would be red after `make repro`."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
# The checkout's own params.yaml, dvc.lock and reports, by whatever name a test has for its root.
READS = re.compile(
    r"""(?:\bROOT|\broot|parents\[\d\])\s*/\s*f?["'](?:params\.yaml|dvc\.lock|reports)""", re.I
)


def test_tests_read_what_is_committed() -> None:
    offenders = [
        f"{path.relative_to(TESTS)}:{number}"
        for path in sorted(TESTS.rglob("*.py"))
        if path.name not in ("committed.py", Path(__file__).name)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if READS.search(line)
    ]
    assert offenders == [], "take it from tests.committed: committed(path) or DEFAULT_PARAMS"


def test_such_a_line_is_found() -> None:
    assert READS.search('load(ROOT / "params.yaml")') and READS.search("root / 'dvc.lock'")
    assert READS.search('Path(__file__).parents[2] / "reports/metrics.json"')
    assert not READS.search('(folder / "params.yaml").read_text()')
