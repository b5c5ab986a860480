"""What do weights of 8 bits cost in quality, and what do they gain in speed?

    python benchmarks/quantization_cost.py [RUN] [--rows N] [--turns 5]

RUN is a checkout after `dvc repro` (default: here) whose scratch track writes texts. Three engines
answer the same rows: ours, CTranslate2 with float32 and with int8, as `scratchformer export` writes
them and `scratchformer predict` reads them. Errors are counted on all rows of the validation split,
differences to float32 are paired, by group, with intervals as in metrics.json. Speed is that of
`--timed` rows in turns.
One thread, batches of 128 rows in order of length. Needs the extra `ctranslate2`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from turns import in_turns, machine_line, table

from scratchformer.base.measures import measures_from, shown
from scratchformer.evaluation.reports.sequences import SequenceRows, columns_of, prediction_table
from scratchformer.evaluation.significance.bootstrap import bootstrap, bootstrap_difference
from scratchformer.evaluation.significance.resampling import GroupSums, Resampling
from scratchformer.evaluation.systems.outputs import SequenceOutput
from scratchformer.prediction import Predictor, load_predictor
from scratchformer.pretrained.conversion.ctranslate2 import export_ctranslate2
from scratchformer.runtime.device import open_machine

BATCH = 128
OURS, FLOAT32, INT8 = "ours", "CTranslate2 float32", "CTranslate2 int8"


def answers(predictor: Predictor, texts: list[str], beam: int) -> list[str]:
    """The best answer to each text, in their order."""
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found = [""] * len(texts)
    for at in range(0, len(order), BATCH):
        rows = order[at : at + BATCH]
        for row, ranked in zip(rows, predictor([texts[row] for row in rows], 1, beam), strict=True):
            found[row] = ranked[0].text
    return found


def quality(rows: SequenceRows, found: dict[str, list[str]], resampling: Resampling) -> str:
    """Markdown: each measure with its interval, and its difference to CTranslate2's float32."""
    sums, columns = {}, {}
    for name, texts in found.items():
        output = SequenceOutput(texts)
        columns, _ = columns_of(rows, output, prediction_table(rows, output))
        sums[name] = GroupSums.of(columns, rows.groups)
    measures = shown([each.key for each in measures_from(columns)])
    statistics = {each.key: each.statistic for each in measures}
    head = "".join(f" {each.title} | minus that of float32 |" for each in measures)
    lines = [f"| |{head} the same as float32 |", "|---|" + "---:|---:|" * len(measures) + "---:|"]
    for name in found:
        alone = bootstrap(sums[name], statistics, resampling)
        paired = bootstrap_difference(sums[name], sums[FLOAT32], statistics, resampling)
        cells = []
        for each in measures:
            value, less = alone[each.key], paired[each.key]
            cells.append(each.text_with_ends(value.value, value.low, value.high))
            cells.append(_finely(each.percent, less.value, less.low, less.high))
        equal = sum(a == b for a, b in zip(found[name], found[FLOAT32], strict=True))
        cells.append(f"{equal:,} of {len(rows.ids):,} ({100 * equal / len(rows.ids):.1f} %)")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _finely(percent: bool, *numbers: float | None) -> str:
    """A difference in two digits, with its interval where there is one."""
    value, *ends = (None if n is None else f"{n * (100 if percent else 1):+.2f}" for n in numbers)
    return f"{value} [{', '.join(map(str, ends))}]" if None not in ends else f"{value}"


def timed(predictor: Predictor, texts: list[str], beam: int) -> Callable[[], float]:
    return lambda: float(len(answers(predictor, texts, beam)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", default=Path())
    parser.add_argument("--rows", type=int, help="the first of the validation split; default: all")
    parser.add_argument("--timed", type=int, default=1024, help="rows whose speed is measured")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    open_machine("cpu", threads=1)
    split = pq.read_table(arguments.run / "data/prepared/scratch/valid.parquet")
    rows = SequenceRows.of(split.slice(0, arguments.rows or len(split)))
    resampling = Resampling(resamples=2000, confidence=0.95, seed=0)
    model = arguments.run / "models/scratch"
    print(machine_line("torch", "ctranslate2"))
    with tempfile.TemporaryDirectory() as place:
        folders: dict[str, Path] = {OURS: model}
        kinds: dict[str, Any] = {FLOAT32: None, INT8: "int8"}
        for name, quantization in kinds.items():
            folders[name] = Path(place, name)
            export_ctranslate2(model, folders[name], quantization)
        predictors = {name: load_predictor(folder, "cpu") for name, folder in folders.items()}
        for beam in (1, 5):
            found = {name: answers(each, rows.sources, beam) for name, each in predictors.items()}
            print(f"\nbeam {beam}, {len(rows.ids):,} validation rows\n")
            print(quality(rows, found, resampling), flush=True)
            some = rows.sources[:: max(1, len(rows.ids) // arguments.timed)][: arguments.timed]
            works = {name: timed(each, some, beam) for name, each in predictors.items()}
            print(f"\n{len(some)} rows in {arguments.turns} turns\n")
            print(table(in_turns(works, arguments.turns), "rows a second"), flush=True)


if __name__ == "__main__":
    main()
