"""The command `scratchformer`: what a person does beside `dvc repro`.

Each command is a few lines that call the library, which is imported only then, so that `--help` and
a mistyped argument answer at once.
"""

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from scratchformer.base.errors import DataError, ScratchformerError
from scratchformer.base.terminal import visible
from scratchformer.cli.models import card, export, predict

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
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    sync: Annotated[
        bool, typer.Option(help="First add the runs of results that DVC restored.")
    ] = True,
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
    """Create the MLflow runs that are missing.

    Those of results that DVC restored without running a stage, or all after the store was deleted.
    """
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
    """Check the files named in dvc.lock against their hashes.

    Both in the workspace and in DVC's cache.
    """
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
def seeds(numbers: Annotated[list[int], typer.Argument(min=0, help="Two or more seeds.")]) -> None:
    """Run the pipeline once per seed; print mean and spread.

    Each run is a DVC experiment.
    """
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
    space: Annotated[Path, typer.Argument(help="YAML file with the keys and the values to try.")],
    workers: Annotated[int, typer.Option(min=1, help="Trainings at the same time.")] = 1,
    report: Annotated[
        bool, typer.Option("--report", help="Only write the report page so far.")
    ] = False,
) -> None:
    """Search for better parameters of a training.

    The best are trained again with fresh seeds, and the winner is written as a preset. A search
    that was stopped goes on when it is started again.
    """
    from scratchformer.base.phases import spent
    from scratchformer.base.terminal import print_summary
    from scratchformer.search import pool

    if report:
        print(pool.report(space))
        return
    print_summary(pool.search(space, workers), spent())


@app.command()
def ladder(
    seeds: Annotated[int, typer.Option(min=2, help="Trainings per size.")] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at the same time.")] = 1,
) -> None:
    """Train the recipe at four sizes; predict ten times the compute.

    Fits a power law to the validation losses of the from-scratch model.
    """
    from scratchformer.base.phases import spent
    from scratchformer.base.terminal import print_summary
    from scratchformer.search.ladder.run import ladder as run_ladder

    print_summary(run_ladder(seeds, workers), spent())


for command in (card, export, predict):
    app.command()(command)
