"""Seed small faults all over `src` and count how many of them a test sees: a check of the tests.

    python docs/tools/mutation.py RESULTS.jsonl --mutants 100 --seed 1

cosmic-ray finds the places and makes the faults (another operator, another number, a negated
condition, a loop that never runs, …). A line is drawn, then a fault on it; the same seed draws the
same faults of the same source. Each fault goes into a clone of the last commit, and the tests of
its room run there until one is red. Faults that no test could see are not drawn: those that change
annotations only, and those in code that only a type checker reads.

Needs `pip install -e ".[mutation]"`. RESULTS.jsonl gets a line a fault as soon as it is known; run
the command again and it goes on behind the last. It takes about half a minute a fault and worker.
"""

import argparse
import ast
import difflib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("src/scratchformer")
# Replacing + by ** or << mostly ends in a TypeError that any call shows: not worth a draw.
CRUDE = ("Pow", "LShift", "RShift", "BitXor", "Mod", "MatMul")
TIMEOUT = 600  # seconds for one folder of tests; a fault that makes them hang is seen
# The folders of tests that stand for a room, the nearest first. A room that is not here has a
# folder of its own name.
TESTS = {
    "base": ("base", "data", "stages", "training"),
    "checkpoints": ("checkpoints", "training", "survival"),
    "cli": ("cli", "params", "prediction"),
    "data": ("data", "text", "training"),
    "evaluation": ("evaluation", "visualization"),
    "explanation": ("explanation", "training", "visualization"),
    "monitoring": ("monitoring", "training", "pretrained"),
    "params": ("params", "data", "stages"),
    "prediction": ("prediction", "pipeline"),
    "pretrained": ("pretrained", "prediction", "evaluation"),
    "record": ("record", "tracking"),
    "runtime": ("runtime", "training", "pretrained", "checkpoints"),
    "stages": ("stages", "data", "training", "pretrained", "evaluation", "visualization"),
    "text": ("text", "data", "pretrained", "prediction"),
    "training": ("training", "survival"),
    "transformer": ("transformer", "training"),
    "visualization": ("visualization", "pipeline"),
}


@dataclass(frozen=True)
class Fault:
    """One change of one file."""

    file: str  # relative to the checkout
    line: int
    operator: str
    old: str  # the line, stripped
    new: str
    text: str  # the whole file with the fault

    @property
    def key(self) -> str:
        return f"{self.file}:{self.line}:{self.operator}:{self.new}"


def places_of(path: Path) -> Iterator[tuple[int, str, int]]:
    """Where cosmic-ray can make a fault: line, operator, and the number of the place."""
    import cosmic_ray.plugins as plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    nodes = list(ast_nodes(get_ast(path.read_text(encoding="utf-8"))))
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        if kind.arguments() or name.endswith(CRUDE):
            continue
        starts = [start for node in nodes for start, _ in kind().mutation_positions(node)]
        for occurrence, (line, _) in enumerate(starts):
            yield line, name, occurrence


def fault_at(path: Path, operator: str, occurrence: int) -> Fault | None:
    """The fault at one place; None where it changes nothing that runs."""
    import cosmic_ray.plugins as plugins
    from cosmic_ray.mutating import mutate_code

    source = path.read_text(encoding="utf-8")
    text = mutate_code(source, plugins.get_operator(operator)(), occurrence)
    if text is None or _meaning(text) in (_meaning(source), None):
        return None
    line, old, new = _changed_line(source, text)
    file = path.relative_to(ROOT).as_posix()
    return Fault(file, line, operator.removeprefix("core/"), old, new, text)


def _meaning(source: str) -> str | None:
    """What runs: the syntax tree without annotations, and without what only type checkers read."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            arguments = node.args
            for argument in (
                *arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs,
                *filter(None, (arguments.vararg, arguments.kwarg)),
            ):  # fmt: skip
                argument.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.test, node.body = ast.Name("TYPE_CHECKING"), [ast.Pass()]  # also `not …`
    return ast.dump(tree)


def _changed_line(old: str, new: str) -> tuple[int, str, str]:
    before, after = old.splitlines(), new.splitlines()
    for tag, i, _, j, end in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        if tag != "equal":
            return i + 1, before[i].strip() if i < len(before) else "", " ".join(
                line.strip() for line in after[j:end]
            )
    raise ValueError("the two texts are the same")


def draw(number: int, seed: int) -> list[Fault]:
    """`number` faults, at most one on a line; lines are drawn, then one of the faults on each."""
    lines: dict[tuple[Path, int], list[tuple[str, int]]] = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        for line, operator, occurrence in places_of(path):
            lines.setdefault((path, line), []).append((operator, occurrence))
    chance = random.Random(seed)
    order = sorted(lines)
    chance.shuffle(order)
    drawn: list[Fault] = []
    for path, line in order:
        if len(drawn) == number:
            break
        fault = fault_at(path, *chance.choice(lines[path, line]))
        if fault:
            drawn.append(fault)
    return drawn


def seen_by(fault: Fault, clone: Path, python: str) -> str | None:
    """The folder of tests that turned red, or None. The clone is as before afterwards."""
    target = clone / fault.file
    before = target.read_text(encoding="utf-8")
    room = Path(fault.file).relative_to(PACKAGE).parts[0].removesuffix(".py")
    environment = {**os.environ, "PYTHONPATH": str(clone / "src"), "OMP_NUM_THREADS": "1"}
    target.write_text(fault.text, encoding="utf-8")
    folders = TESTS.get(room, (room,))
    try:
        # Most faults are seen by the quick tests of some folder.
        for marks, folder in product(("not slow and not release", "slow and not release"), folders):
            command = [python, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
                       "-m", marks, f"tests/{folder}"]  # fmt: skip
            try:
                code = subprocess.run(
                    command, cwd=clone, env=environment, capture_output=True, timeout=TIMEOUT,
                    check=False,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                return f"{folder} (hangs)"
            if code not in (0, 5):  # 5: the folder holds no test
                return folder
        return None
    finally:
        target.write_text(before, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--mutants", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    known = set()
    if options.results.exists():
        lines = options.results.read_text(encoding="utf-8").splitlines()
        known = {json.loads(line)["key"] for line in lines}
    waiting = [f for f in draw(options.mutants, options.seed) if f.key not in known]
    clones: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        for worker in range(options.workers):
            clone = Path(folder) / str(worker)
            subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
            clones.put(clone)

        def work(fault: Fault) -> None:
            clone = clones.get()
            try:
                record = {**asdict(fault), "key": fault.key}
                record["seen_by"] = seen_by(fault, clone, sys.executable)
            finally:
                clones.put(clone)
            del record["text"]
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            print(record["seen_by"] or "NOT SEEN", fault.key, flush=True)

        with ThreadPoolExecutor(options.workers) as pool:
            list(pool.map(work, waiting))
    lines = options.results.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    seen = sum(record["seen_by"] is not None for record in records)
    print(f"{seen} of {len(records)} faults were seen")


if __name__ == "__main__":
    main()
