"""Run the proofs of the book and write docs/proofs.md: `python docs/tools/proofs.py`.

Cases, largest differences, the bugs that turn tests red, the lines of the folder. Nothing is
written unless every test is green.
"""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from chapters import DOCS, ROOT, fill

from scratchformer.base.files import write_whole

PAGE = DOCS / "proofs.md"
FOLDER = ROOT / "src" / "scratchformer" / "transformer"
BUGS = ROOT / "tests" / "transformer" / "book" / "bugs.toml"
PASSED = re.compile(r"^(tests/[\w/]+\.py)::.* PASSED", re.M)
DIFFERENCE = re.compile(r"^(?P<kind>\w.*?) +(?P<n>\d+) +(?P<largest>\S+) ≤ (?P<bound>\S+)$", re.M)


def run_tests() -> str:
    """What pytest prints of the three rooms, one line a test. Raises CalledProcessError if red."""
    rooms = [f"tests/transformer/{kind}" for kind in ("equivalence", "properties", "book")]
    options = ["-vv", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", *options, *rooms]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def cases(output: str) -> str:
    """How many tests of each file passed."""
    count = Counter(PASSED.findall(output))
    rows = [f"| [`{path[6:]}`](../{path}) | {number} |" for path, number in sorted(count.items())]
    return "\n".join(["| tests | passed |", "|---|---:|", *rows, f"| all | {count.total()} |"])


def differences(output: str) -> str:
    """The summary that tests/conftest.py prints, as a table."""
    rows = [
        f"| {match['kind']} | {match['n']} | {match['largest']} | {match['bound']} |"
        for match in DIFFERENCE.finditer(output)
    ]
    heads = ["| what is compared | tensors | largest difference | bound |", "|---|---:|---:|---:|"]
    return "\n".join([*heads, *rows])


def bugs() -> str:
    """Every bug with the tests that it turns red."""
    lines = ["| | bug | in | tests that turn red |", "|---:|---|---|---|"]
    entries = tomllib.loads(BUGS.read_text(encoding="utf-8"))["bug"]
    for number, bug in enumerate(entries, start=1):
        names = [test.partition("::")[2].partition("[")[0] for test in bug["tests"]]
        tests = "<br>".join(f"`{name}`" for name in dict.fromkeys(names))
        lines.append(f"| {number} | {bug['name']} | `{bug['file']}` | {tests} |")
    return "\n".join(lines)


def lines() -> str:
    """Lines of each file, docstrings and comments included."""
    counts = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted(FOLDER.glob("*.py"))
    }
    rows = [f"| `{name}` | {number} |" for name, number in counts.items()]
    total = f"| {len(counts)} files | {sum(counts.values()):,} |"
    return "\n".join(["| file | lines |", "|---|---:|", *rows, total])


def main() -> None:
    output = run_tests()
    text = PAGE.read_text(encoding="utf-8")
    parts = {
        "cases": cases(output),
        "differences": differences(output),
        "bugs": bugs(),
        "lines": lines(),
    }
    for name, content in parts.items():
        text = fill(text, name, content)
    with write_whole(PAGE) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
