"""How the weights of the from-scratch model are updated and averaged, with the defaults."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scratchformer.params.section import Betas, Decay, Positive, Probability, Section


class AdamOptimizer(Section):
    """`learning_rate` is, here and below, the peak of the schedule; decay is for matrices only.

    `fused` is torch's kernel, `explicit` ours, where the equation can be read. With `adam`, decay
    is added to the gradient; with `adamw` it shrinks the weights.
    """

    kind: Literal["adamw", "adam"]
    learning_rate: Positive
    betas: Betas = Field(default=[0.9, 0.98])
    epsilon: Positive = 1e-9
    weight_decay: Decay = 0.0
    implementation: Literal["fused", "explicit"] = "fused"


class SGDOptimizer(Section):
    kind: Literal["sgd"]
    learning_rate: Positive
    momentum: Probability = 0.0
    nesterov: bool = False
    weight_decay: Decay = 0.0
    implementation: Literal["fused", "explicit"] = "fused"

    @model_validator(mode="after")
    def nesterov_looks_along_the_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: true needs a momentum above 0")
        return self


class AdafactorOptimizer(Section):
    kind: Literal["adafactor"]
    learning_rate: Positive
    weight_decay: Decay = 0.0
    implementation: Literal["fused", "explicit"] = "fused"


class LionOptimizer(Section):
    """torch has no kernel for it."""

    kind: Literal["lion"]
    learning_rate: Positive
    betas: Betas = Field(default=[0.9, 0.99])
    weight_decay: Decay = 0.0
    implementation: Literal["explicit"] = "explicit"


class MuonOptimizer(Section):
    """Matrices inside the layers by Muon; embeddings, the output and vectors by AdamW, whose
    rate is `adamw_share` times that of the matrices."""

    kind: Literal["muon"]
    learning_rate: Positive
    adamw_share: Positive = 0.1
    momentum: Probability = 0.95
    nesterov: bool = True
    betas: Betas = Field(default=[0.9, 0.98])
    epsilon: Positive = 1e-9
    weight_decay: Decay = 0.0
    implementation: Literal["explicit"] = "explicit"


OptimizerSettings = Annotated[
    AdamOptimizer | SGDOptimizer | AdafactorOptimizer | LionOptimizer | MuonOptimizer,
    Field(discriminator="kind"),
]


class NoAveraging(Section):
    kind: Literal["none"]


class ExponentialAveraging(Section):
    kind: Literal["exponential"]
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999


class LastAveraging(Section):
    kind: Literal["last"]
    validations: Annotated[int, Field(ge=2)] = 5


AveragingSettings = Annotated[
    NoAveraging | ExponentialAveraging | LastAveraging, Field(discriminator="kind")
]
