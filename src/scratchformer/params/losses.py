"""Section `train_scratch.loss`: the kinds, and the settings of each."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from scratchformer.params.section import Decay, Positive, Section


class CrossEntropyLoss(Section):
    """`included`, here and below: what the training loss has in it and the validation loss has not,
    besides label smoothing."""

    included: ClassVar[str] = ""
    kind: Literal["cross_entropy"]


class FocalLoss(Section):
    included: ClassVar[str] = "the weights of focal loss"
    kind: Literal["focal"]
    gamma: Decay = 2.0


class RDropLoss(Section):
    included: ClassVar[str] = "the divergence of two passes"
    kind: Literal["r_drop"]
    alpha: Positive = 5.0


class UnlikelihoodLoss(Section):
    included: ClassVar[str] = "unlikelihood"
    kind: Literal["unlikelihood"]
    alpha: Positive = 1.0


LossSettings = Annotated[
    CrossEntropyLoss | FocalLoss | RDropLoss | UnlikelihoodLoss, Field(discriminator="kind")
]
