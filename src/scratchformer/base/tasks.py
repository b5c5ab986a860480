"""The kinds of problem, each declared once: what goes in, and what an answer is.

Everything else that differs between tasks stands in the rooms, one file a task, in a `Registry`
whose choice is "task". tests/test_registries.py walks them and names what a new task lacks.
"""

from dataclasses import dataclass
from typing import Literal

from scratchformer.base.registry import Registry

TaskName = Literal["seq2seq", "classification"]


@dataclass(frozen=True)
class Task:
    """What the rows of a task hold.

    Attributes:
        name: as params.yaml says it.
        input_field: the column with the input text, in sources, prepared data and tables.
        pair_field: a second text that belongs to the first (premise and claim), if the task
            may have one.
        answer_field: the answer in a row of a source.
        answer_column: the answers in prepared data; the plural where a row may have several.
        labelled: an answer is one of the labels that the training split has. Else it is text.
    """

    name: TaskName
    input_field: str
    pair_field: str | None
    answer_field: str
    answer_column: str
    labelled: bool


CLASSIFICATION = Task("classification", "text", "text_pair", "label", "label", labelled=True)
SEQ2SEQ = Task("seq2seq", "source", None, "target", "targets", labelled=False)

TASKS: Registry[Task] = Registry("task", {task.name: task for task in (SEQ2SEQ, CLASSIFICATION)})
