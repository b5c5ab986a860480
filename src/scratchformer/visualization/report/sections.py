"""Which sections the report has."""

from collections.abc import Iterator

from scratchformer.base.layout import SCRATCH_MODEL
from scratchformer.base.tasks import TASKS
from scratchformer.data.preparation.prepared import load_info
from scratchformer.params import Params
from scratchformer.record.metrics import Metrics
from scratchformer.runtime.device import on_device
from scratchformer.text.inputs import load_scratch_inputs
from scratchformer.text.tokenizers import load_tokenizers
from scratchformer.transformer import load_model
from scratchformer.visualization.report.page.items import Section
from scratchformer.visualization.report.section_results import results_section
from scratchformer.visualization.report.section_scratch import ScratchModel, scratch_section
from scratchformer.visualization.report.section_training import training_section
from scratchformer.visualization.report.tasks import TASK_SECTIONS


def sections(params: Params, metrics: Metrics) -> Iterator[Section]:
    """Results first, then how they came about, then what is inside, then what went wrong."""
    yield results_section(metrics)
    yield from _scratch_sections(params)
    yield from _finetune_sections(params)


def _scratch_sections(params: Params) -> Iterator[Section]:
    info, settings = load_info("scratch"), params.visualize
    task = TASK_SECTIONS[info.task]
    yield training_section("scratch", task.loss_unit, params.train_scratch.clip_norm)
    model = ScratchModel(
        on_device(load_model(SCRATCH_MODEL)),
        load_tokenizers(SCRATCH_MODEL),
        load_scratch_inputs(SCRATCH_MODEL),
        TASKS[info.task],
    )
    yield scratch_section(
        model, settings.attention_examples, settings.projection_points, settings.texts.scratch
    )
    yield task.errors("scratch", {"model": "from scratch"}, info, settings.error_examples)


def _finetune_sections(params: Params) -> Iterator[Section]:
    info = load_info("finetune")
    task = TASK_SECTIONS[info.task]
    yield training_section("finetune", task.loss_unit, None)
    yield task.pretrained(params, info)
    systems = {"before": "before fine-tuning", "after": "after fine-tuning"}
    yield task.errors("finetune", systems, info, params.visualize.error_examples)
