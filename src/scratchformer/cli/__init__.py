"""The command `scratchformer`: what a person does beside `dvc repro`.

Each command is a few lines that call the library, which is imported only then, so that `--help` and
a mistyped argument answer at once.
"""

import io
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scratchformer.base.errors import DataError, ScratchformerError
from scratchformer.base.terminal import visible
from scratchformer.cli.export import EXPORTS, Layout
from scratchformer.runtime.device import DeviceName


class LongTexts(StrEnum):
    """What `predict` does with a text that is longer than the model reads."""

    cut = "cut"
    windows = "windows"


app = typer.Typer(
    help="A Transformer from scratch, a fine-tuned one, and an honest comparison.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run a command; what the user can fix ends it with one line, see `base/errors.py`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe may have fewer letters: cp1252, ASCII
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except BrokenPipeError:
        # The reader (`| head`) has left. Python would complain once more as it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ScratchformerError, OSError, UnicodeDecodeError) as error:
        if os.environ.get("SCRATCHFORMER_DEBUG") == "1":
            raise
        message, code = _message_and_code(error)
        print(f"scratchformer: {visible(message)}", file=sys.stderr)
        sys.exit(code)


def _message_and_code(error: Exception) -> tuple[str, int]:
    """The line and the exit code of an error."""
    if isinstance(error, ScratchformerError):
        return str(error), error.exit_code
    if isinstance(error, UnicodeDecodeError):
        return f"a file of this project is not text in UTF-8 ({error}); save it again", 3
    name = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None) or str(error)
    return f"{name}: {reason}" if name else reason, ScratchformerError.exit_code


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Options that stand before the command."""
    if debug:
        os.environ["SCRATCHFORMER_DEBUG"] = "1"


@app.command()
def params() -> None:
    """Check params.yaml."""
    from scratchformer.params import load_params

    load_params()
    print("params.yaml is valid")


@app.command()
def preset(
    name: Annotated[str | None, typer.Argument(help="Omit to list the presets.")] = None,
) -> None:
    """Merge presets/NAME.yaml into params.yaml."""
    from scratchformer.params.presets import apply_preset, list_presets

    if name is None:
        presets = list_presets()
        width = max(map(len, presets))
        for known, description in presets.items():
            print(f"{known:{width}}  {description}")
        return
    changes = apply_preset(name)
    for change in changes:
        print(change)
    print(f"params.yaml: {len(changes)} values changed; run dvc repro to apply them")


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000,
    sync: Annotated[bool, typer.Option(help="Add the runs of restored results first.")] = True,
) -> None:
    """Browse the runs in MLflow."""
    from scratchformer.base.workspace import workspace_root
    from scratchformer.params import load_params
    from scratchformer.tracking.server import serve

    if sync:
        _sync()
    serve(workspace_root(), port, load_params().tracking.experiment)


@app.command()
def sync() -> None:
    """Create the MLflow runs of restored results, or all again after the store was deleted."""
    created, completed, known = _sync()
    print(f"MLflow runs: {created} created, {completed} completed, {known} were there")


def _sync() -> tuple[int, int, int]:
    from scratchformer.base.workspace import workspace_root
    from scratchformer.params import load_params
    from scratchformer.search.mirror import mirror_searches
    from scratchformer.tracking.mirror.sync import sync_store

    root, experiment = workspace_root(), load_params().tracking.experiment
    created, completed, known = sync_store(root, experiment)
    return created + mirror_searches(root, experiment), completed, known


@app.command()
def verify() -> None:
    """Check all files named in dvc.lock against their hashes, in the workspace and DVC's cache."""
    from scratchformer.record.integrity import verify_record

    report = verify_record()
    for line in report.edited:
        print(line)
    if report.not_made:
        print(f"not made here yet, run dvc repro (or dvc pull): {', '.join(report.not_made)}")
    print(f"{report.files:,} files checked, {len(report.damaged)} damaged")
    if report.damaged:
        raise DataError("\n".join(report.damaged))


@app.command()
def readme(
    check: Annotated[bool, typer.Option(help="Only check; write nothing.")] = False,
) -> None:
    """Write the table of results into README.md."""
    from scratchformer.base.files import write_whole
    from scratchformer.base.layout import METRICS
    from scratchformer.evaluation.tables.results_table import replace_block
    from scratchformer.record.metrics import load_metrics

    path = Path("README.md")
    if not (path.is_file() and METRICS.is_file()):
        raise DataError(f"{path} and {METRICS} are needed; run from the root, after dvc repro")
    text = path.read_text(encoding="utf-8")
    wanted = replace_block(text, load_metrics())
    if wanted == text:
        print("README.md: up to date")
    elif check:
        raise DataError(f"{path}: its results are not those of {METRICS}; run scratchformer readme")
    else:
        with write_whole(path) as temporary:
            temporary.write_text(wanted, encoding="utf-8")
        print("README.md: written")


@app.command()
def seeds(numbers: Annotated[list[int], typer.Argument(min=0, help="Two or more.")]) -> None:
    """Run the pipeline once per seed, as DVC experiments; print mean and spread."""
    from scratchformer.record.seeds import run_seeds, summarise

    records = summarise(run_seeds(numbers))
    width = max((len(record["measure"]) for record in records), default=0)
    print(f"seeds {', '.join(map(str, numbers))}: mean ± standard deviation [95% interval, t]")
    for record in records:
        print(
            f"{record['measure']:{width}}  {record['mean']:.4f} ± {record['deviation']:.4f}  "
            f"[{record['low']:.4f}, {record['high']:.4f}]"
        )


@app.command()
def search(
    space: Annotated[Path, typer.Argument(help="YAML file: keys and the values to try.")],
    workers: Annotated[int, typer.Option(min=1, help="Trainings at the same time.")] = 1,
    report: Annotated[bool, typer.Option("--report", help="Only write the page so far.")] = False,
) -> None:
    """Search better parameters of a training; train the best again and write them as a preset."""
    import time

    from scratchformer.base.terminal import print_summary
    from scratchformer.search import pool

    if report:
        print(pool.report(space))
        return
    start = time.monotonic()
    print_summary(pool.search(space, workers), time.monotonic() - start)


@app.command()
def ladder(
    seeds: Annotated[int, typer.Option(min=2, help="Trainings of each size.")] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at the same time.")] = 1,
) -> None:
    """Train the from-scratch recipe at four sizes; predict the loss at ten times the compute."""
    import time

    from scratchformer.base.terminal import print_summary
    from scratchformer.search.ladder.run import ladder as run_ladder

    start = time.monotonic()
    print_summary(run_ladder(seeds, workers), time.monotonic() - start)


@app.command()
def card() -> None:
    """Print the model card of models/finetuned, with its scores on the test split."""
    from scratchformer.evaluation.tables.results_table import card_with_results

    print(card_with_results(), end="")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to create.")],
    model: Annotated[Path, typer.Option(help="models/scratch or models/finetuned.")] = Path(
        "models/finetuned"
    ),
    layout: Annotated[
        Layout,
        typer.Option("--as", help="pyfunc for MLflow; the others need models/scratch."),
    ] = Layout.pyfunc,
    example: Annotated[str, typer.Option(help="Input example of a pyfunc.")] = "transformer",
) -> None:
    """Write a model for MLflow (no pickles), for transformers, or for CTranslate2."""
    print(f"{folder}: written; {EXPORTS[layout](model, folder, example)}")


@app.command()
def predict(
    texts: Annotated[list[str] | None, typer.Argument(help="Omit to read standard input.")] = None,
    model: Annotated[Path, typer.Option(help="models/scratch or models/finetuned.")] = Path(
        "models/scratch"
    ),
    file: Annotated[
        Path | None, typer.Option("--input", help="Text, .csv, .tsv, .jsonl or .parquet; .gz too.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--format", help="csv, tsv, jsonl or text, of --input also parquet; else by "
                     "its name. Of stdin: text."),
    ] = None,
    column: Annotated[str, typer.Option(help="Column of a table that holds the text.")] = "text",
    pair_column: Annotated[
        str | None, typer.Option(help="Column of the second text, for pairs.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write .csv, .tsv or .jsonl (.gz too).")
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "--n-best", min=1, help="Predictions for each text.")
    ] = 1,
    beam: Annotated[int, typer.Option(min=1, help="Width of the search; 1 is greedy.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts per batch.")] = 64,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Less probable predictions are left empty.")
    ] = 0.0,
    long: Annotated[
        LongTexts,
        typer.Option(help="Of a classifier: cut long texts as in training, or read windows."),
    ] = LongTexts.cut,
    device: Annotated[DeviceName, typer.Option(help="auto: a CUDA device, else the CPU.")] = "auto",
    shard: Annotated[
        str | None, typer.Option(help="2/4: the second of four parts of --input, in its own file.")
    ] = None,
) -> None:
    """Apply a trained model to texts."""
    if texts:  # a few: threads that wait for each other cost more than they save
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch is imported
    from scratchformer.prediction import predict_file
    from scratchformer.prediction.shards import Shard

    predict_file(
        model, texts or [], file, column, output, top_k, beam, batch_size, pair_column, threshold,
        long.value, device, kind, None if shard is None else Shard.of(shard),
    )  # fmt: skip
