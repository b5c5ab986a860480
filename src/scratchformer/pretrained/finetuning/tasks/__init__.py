"""What can be fine-tuned: one file a task."""

from scratchformer.base.registry import Registry
from scratchformer.pretrained.finetuning.tasks.classification import make_classification
from scratchformer.pretrained.finetuning.tasks.seq2seq import make_sequences
from scratchformer.pretrained.finetuning.tasks.task import TaskMaker

MAKERS: Registry[TaskMaker] = Registry(
    "task", {"classification": make_classification, "seq2seq": make_sequences}
)
