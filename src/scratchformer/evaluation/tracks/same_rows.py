"""Whether one table may hold the systems of both tracks."""

from scratchformer.base.layout import TRACKS, SplitName
from scratchformer.base.tasks import TASKS
from scratchformer.data.preparation.prepared import load_info, load_split


def same_rows() -> bool:
    """Whether both tracks ask for the same answers to the same rows, on both held-out splits."""
    task, other = (TASKS[load_info(track).task] for track in TRACKS)
    if task is not other:
        return False
    fields = (task.input_field, task.pair_field, task.answer_column)
    columns = ["id", *(name for name in fields if name is not None)]

    def equal(split: SplitName) -> bool:
        scratch = load_split("scratch", split).select(columns)
        return bool(scratch.equals(load_split("finetune", split).select(columns)))

    return equal("valid") and equal("test")
