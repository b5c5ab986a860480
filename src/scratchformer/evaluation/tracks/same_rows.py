"""Whether one table may hold the systems of both tracks."""

from scratchformer.base.layout import SplitName
from scratchformer.base.tasks import TASKS
from scratchformer.data.preparation.prepared import load_info, load_split


def same_rows() -> bool:
    """Whether both tracks ask for the same answers to the same rows, on both held-out splits."""
    task = load_info("scratch").task
    if task != load_info("finetune").task:
        return False
    fields = (TASKS[task].input_field, TASKS[task].pair_field, TASKS[task].answer_column)
    columns = ["id", *(name for name in fields if name is not None)]

    def equal(split: SplitName) -> bool:
        scratch = load_split("scratch", split).select(columns)
        return bool(scratch.equals(load_split("finetune", split).select(columns)))

    return equal("valid") and equal("test")
