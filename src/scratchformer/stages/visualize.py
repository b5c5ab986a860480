"""Stage visualize: histories, models, predictions → reports/figures/, report.html, plots/."""

from typing import TYPE_CHECKING

from scratchformer.base.layout import FIGURES, HTML_REPORT, PLAYGROUND, PLOTS
from scratchformer.base.terminal import Summary
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun


# The pictures that stand in Git, for README and `dvc plots`; small, and few.
PLOTS_IN_GIT = ("scratch-scores", "scratch-layers", "finetune-scores")


_TOO_LARGE = (
    "the report has {size:.1f} MB, more than 3 MB: slow to mail and to open; lower "
    "visualize.attention_examples or visualize.projection_points"
)


def visualize(params: Params, run: "StageRun") -> Summary:
    """Draw every figure and write the report; what cannot be drawn is named in it with a reason."""
    import shutil

    from scratchformer.base.files import write_whole_folder
    from scratchformer.record.metrics import load_metrics
    from scratchformer.runtime.device import open_machine
    from scratchformer.visualization.playground.build import build_playground
    from scratchformer.visualization.report.first_screen import first_screen
    from scratchformer.visualization.report.page.write import write_report
    from scratchformer.visualization.report.sections import sections

    open_machine(params.run.device, params.run.threads)  # pictures are always of float32
    metrics = load_metrics()
    with write_whole_folder(FIGURES) as folder:
        contents = write_report(
            sections(params, metrics), first_screen(params, metrics), folder, HTML_REPORT
        )
    with write_whole_folder(PLOTS) as folder:
        for name in PLOTS_IN_GIT:
            if name in contents.pictures:
                shutil.copy(FIGURES / f"{name}.png", folder)
    obstacle = build_playground(metrics.tracks["scratch"].task, PLAYGROUND)
    # The files are shown once, on the run of the whole pipeline (tracking/mirror/parent.py).
    return Summary(
        "visualize",
        [
            ("pictures", f"{len(contents.pictures)}, each as PNG and SVG"),
            ("tables", str(len(contents.tables))),
            ("report", f"{contents.size / 1e6:.1f} MB, complete in one file"),
        ],
        [FIGURES, HTML_REPORT, PLAYGROUND, PLOTS],
        [
            *(f"not shown: {item.title}: {item.reason}" for item in contents.missing),
            *([f"no playground: {obstacle}"] if obstacle else []),
            *([_TOO_LARGE.format(size=contents.size / 1e6)] if contents.too_large else []),
        ],
        [
            (str(HTML_REPORT), "all results on one page: open it in a browser"),
            *([] if obstacle else [(str(PLAYGROUND), "the from-scratch model, running there")]),
            ("scratchformer ui", "runs, curves and models in MLflow"),
            ("scratchformer predict TEXT", "ask the model; --model models/finetuned the other"),
            ("dvc metrics diff", "what changed since the last commit"),
        ],
    )


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(visualize)
