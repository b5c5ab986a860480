"""Errors of the from-scratch model and of the letter tree, by the length of the word (chapter 16).

`python docs/tools/errors_by_length.py`, after a `dvc repro` of the default: prints a Markdown table
from reports/predictions/, and how far apart the two phoneme error rates are.
"""

import numpy as np
import pandas as pd
from chapters import ROOT

PREDICTIONS = ROOT / "reports" / "predictions"
LENGTHS = {"1 to 6": (1, 6), "7 to 9": (7, 9), "10 to 12": (10, 12), "13 and more": (13, 99)}


def load(system: str) -> pd.DataFrame:
    """The rows of one system: `distance` and `reference_length` count phonemes."""
    columns = ["source", "distance", "reference_length"]
    rows = pd.read_parquet(PREDICTIONS / f"scratch-{system}.parquet", columns=columns)
    return rows.assign(letters=rows.pop("source").str.len())


def rates(rows: pd.DataFrame) -> str:
    """Word error rate, phoneme error rate, edits of a wrong word: cells of a row."""
    wrong = rows["distance"] > 0
    per = rows["distance"].sum() / rows["reference_length"].sum()
    return f"{wrong.mean():.1%} | {per:.1%} | {rows['distance'][wrong].mean():.2f}"


def paired_interval(model: pd.DataFrame, tree: pd.DataFrame) -> tuple[float, float]:
    """95% of the differences of the phoneme error rates when words are drawn again."""
    draws = np.random.default_rng(0).integers(0, len(model), (2000, len(model)))
    sums = [
        rows["distance"].to_numpy()[draws].sum(axis=1)
        / rows["reference_length"].to_numpy()[draws].sum(axis=1)
        for rows in (model, tree)
    ]
    low, high = np.percentile(sums[0] - sums[1], [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    model, tree = load("model"), load("igtree")
    heads = ["Transformer: words", "phonemes", "edits", "tree: words", "phonemes", "edits"]
    print(f"| letters | words | {' | '.join(heads)} |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, (low, high) in {**LENGTHS, "all": (0, 999)}.items():
        mine, other = (rows[rows["letters"].between(low, high)] for rows in (model, tree))
        if len(mine):
            print(f"| {name} | {len(mine):,} | {rates(mine)} | {rates(other)} |")
    low, high = paired_interval(model, tree)
    print(f"\nphonemes, Transformer minus tree: 95% of the draws from {low:+.2%} to {high:+.2%}")


if __name__ == "__main__":
    main()
