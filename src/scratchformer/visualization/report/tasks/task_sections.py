"""What the report asks of a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scratchformer.base.layout import TrackName
from scratchformer.data.preparation.prepared import Info
from scratchformer.params import Params
from scratchformer.visualization.report.page.items import Section

Systems = Mapping[str, str]  # file stem of the predictions, without the track → name on the page


@dataclass(frozen=True)
class TaskSections:
    """The parts of the report that differ from task to task.

    Attributes:
        loss_unit: what one value of the loss is an average of.
        pretrained: "inside the pretrained model", before and after fine-tuning.
        errors: what the systems of a track get wrong; with two systems, what changed from the
            first to the second.
    """

    loss_unit: str
    pretrained: Callable[[Params, Info], Section]
    errors: Callable[[TrackName, Systems, Info, int], Section]
