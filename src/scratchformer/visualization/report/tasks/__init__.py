"""The parts of the report that differ from task to task: one file a task."""

from scratchformer.base.registry import Registry
from scratchformer.visualization.report.tasks.classification import CLASSIFICATION
from scratchformer.visualization.report.tasks.seq2seq import SEQ2SEQ
from scratchformer.visualization.report.tasks.task_sections import TaskSections

TASK_SECTIONS: Registry[TaskSections] = Registry(
    "task", {"classification": CLASSIFICATION, "seq2seq": SEQ2SEQ}
)
