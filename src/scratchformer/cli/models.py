"""Commands that use a trained model: `card`, `export` and `predict`."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scratchformer.cli.export import EXPORTS, Layout
from scratchformer.runtime.device import DeviceName, count_threads


class LongTexts(StrEnum):
    """What `predict` does with a text that is longer than the model reads."""

    cut = "cut"
    windows = "windows"


def card() -> None:
    """Print the model card of models/finetuned with its test scores."""
    from scratchformer.evaluation.tables.results_table import card_with_results

    print(card_with_results(), end="")


def export(
    folder: Annotated[Path, typer.Argument(help="Folder to create.")],
    model: Annotated[Path, typer.Option(help="models/scratch or models/finetuned.")] = Path(
        "models/finetuned"
    ),
    layout: Annotated[
        Layout,
        typer.Option("--as", help="pyfunc is for MLflow; the others need models/scratch."),
    ] = Layout.pyfunc,
    example: Annotated[str, typer.Option(help="Text of a pyfunc's input example.")] = "transformer",
) -> None:
    """Export a model for MLflow, transformers or CTranslate2."""
    print(f"{folder}: written; {EXPORTS[layout](model, folder, example)}")


def predict(
    texts: Annotated[list[str] | None, typer.Argument(help="Omit to read standard input.")] = None,
    model: Annotated[Path, typer.Option(help="models/scratch or models/finetuned.")] = Path(
        "models/scratch"
    ),
    file: Annotated[
        Path | None,
        typer.Option("--input", help="File to read: text, .csv, .tsv, .jsonl, .parquet; .gz too."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--format", help="csv, tsv, jsonl, text or, with --input, parquet. Default: "
                     "what the name says; text for standard input."),
    ] = None,
    column: Annotated[str, typer.Option(help="Column of a table that holds the text.")] = "text",
    pair_column: Annotated[
        str | None, typer.Option(help="Column of the second text, for pairs.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write: .csv, .tsv or .jsonl; .gz too.")
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "--n-best", min=1, help="Predictions per text.")
    ] = 1,
    beam: Annotated[int, typer.Option(min=1, help="Beam width; 1 is greedy.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts per batch.")] = 64,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Leave less probable predictions empty.")
    ] = 0.0,
    long: Annotated[
        LongTexts,
        typer.Option(help="Classifiers: cut long texts as in training, or read windows of them."),
    ] = LongTexts.cut,
    device: Annotated[DeviceName, typer.Option(help="auto: a CUDA device, else the CPU.")] = "auto",
    shard: Annotated[
        str | None,
        typer.Option(help="Part of --input: 2/4 is the second of four, with its own output."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Share the batches among so many; each loads the model.")
    ] = 1,
) -> None:
    """Apply a trained model to texts."""
    # Read once, when torch is imported. For a few texts, threads that wait for each other cost more
    # than they save.
    if texts or processes > 1:
        threads = 1 if texts else max(1, count_threads("auto") // processes)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    from scratchformer.prediction import predict_file
    from scratchformer.prediction.shards import Shard
    from scratchformer.runtime.workers import set_workers

    set_workers(processes)
    predict_file(
        model, texts or [], file, column, output, top_k, beam, batch_size, pair_column, threshold,
        long.value, device, kind, None if shard is None else Shard.of(shard),
    )  # fmt: skip
