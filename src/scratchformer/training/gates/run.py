"""The list of gates; all are run, and all red ones are reported together."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import torch

from scratchformer.base.errors import GateError
from scratchformer.base.terminal import say, warn
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import GateName, TrainScratch
from scratchformer.runtime.device import device_of, seed_device
from scratchformer.runtime.randomness import derive_seed
from scratchformer.training.gates import learning, rate, wiring
from scratchformer.training.gates.subject import RedGateError, Subject
from scratchformer.training.objectives.objective import Objective


@dataclass(frozen=True)
class Gate:
    """One thing that must be true before training is worth its time.

    Attributes:
        check: says what it found, or raises RedGateError.
        asks: what must be true.
        fix: where to look when it is not.
        after: gates that must be green first; without them this one would be red for their
            reason, and say less about it.
        decoder: whether it makes sense for a model with a decoder only.
    """

    name: GateName
    check: Callable[[Subject], str]
    asks: str
    fix: str
    after: tuple[GateName, ...] = ()
    decoder: bool = False


WIRING: tuple[GateName, ...] = ("future", "padding", "encoder_used", "gradients")

GATES = (
    Gate(
        "future",
        wiring.future,
        "no target token sees a later one",
        "look at the causal mask (masks.py) and at how the target is shifted (seq2seq.py)",
        decoder=True,
    ),
    Gate(
        "padding",
        wiring.padding,
        "padding changes nothing",
        "look at the padding masks (masks.py) and at what the loss sums over",
        after=("future",),
    ),
    Gate(
        "encoder_used",
        wiring.encoder_used,
        "the decoder reads the source of its own row",
        "look at cross-attention: its keys and values come from the memory, row by row",
        decoder=True,
    ),
    Gate(
        "gradients",
        wiring.gradients,
        "every parameter gets a gradient",
        "look for a layer that forward does not call, a detach(), or a number out of range",
        after=("encoder_used",),
    ),
    Gate(
        "initial_loss",
        learning.initial_loss,
        "the loss starts at that of guessing",
        "look at the loss, its smoothing and what it is divided by, and at initialization.py",
        after=("padding", "future"),
    ),
    Gate(
        "input_matters",
        learning.input_matters,
        "a model without the source does worse",
        "look at the tokenized sources: are they the right ones, and not all unknown?",
        after=WIRING,
    ),
    Gate(
        "overfits_one_batch",
        learning.overfits_one_batch,
        "a handful of rows can be learned by heart",
        "look at the sign and scale of the gradient, at the targets, and at the model's width",
        after=(*WIRING, "initial_loss", "input_matters"),
    ),
    Gate(
        "learning_rate",
        rate.learning_rate,
        "some learning rate works",
        "",
        after=(*WIRING, "overfits_one_batch"),
    ),
)


@dataclass(frozen=True)
class Outcome:
    """How a gate ended, and what it found."""

    state: Literal["green", "red", "skipped", "not judged"]
    found: str


def run_gates(
    objective: Objective,
    batches: TokenBatches,
    settings: TrainScratch,
    seed: int,
    skip: Collection[GateName] = (),
) -> tuple[dict[GateName, Outcome], list[str]]:
    """Try every gate that makes sense for this model, on copies of it.

    A gate that would be red only because another one is, is not judged.

    Returns:
        outcomes in the order of GATES, and warnings.
    """
    outcomes: dict[GateName, Outcome] = {}
    with torch.random.fork_rng(devices=[]):
        seed_device(device_of(objective.model), derive_seed(seed, "gates"))
        subject = Subject(objective, batches, settings)
        for gate in GATES:
            if gate.decoder and objective.model.config.num_labels:
                continue
            red = [
                name for name in gate.after if name in outcomes and outcomes[name].state == "red"
            ]
            if gate.name in skip:
                outcomes[gate.name] = Outcome("skipped", "skipped by train_scratch.skip_gates")
            elif red:
                outcomes[gate.name] = Outcome("not judged", f"{' and '.join(red)} must pass first")
            else:
                outcomes[gate.name] = _try(gate, subject)
    return outcomes, subject.warnings


def _try(gate: Gate, subject: Subject) -> Outcome:
    try:
        return Outcome("green", gate.check(subject))
    except RedGateError as found:
        return Outcome("red", str(found))


def pass_gates(
    objective: Objective, batches: TokenBatches, settings: TrainScratch, seed: int
) -> None:
    """Run the gates that settings do not skip; say what they found.

    Raises:
        GateError: some are red; one line each, with the reason, the fix and its name.
    """
    outcomes, warnings = run_gates(objective, batches, settings, seed, settings.skip_gates)
    asked = {gate.name: gate for gate in GATES}
    for name, outcome in outcomes.items():
        sign = {"green": "✓", "red": "✗"}.get(outcome.state, "-")
        say(f"  {sign} {asked[name].asks}: {outcome.found}")
    for warning in warnings:
        warn(warning)
    red = [name for name, outcome in outcomes.items() if outcome.state == "red"]
    if red:
        raise GateError(
            "\n".join(
                f"gate {name} is red: {outcomes[name].found}; {asked[name].fix}; to train "
                f"anyway, add {name} to train_scratch.skip_gates"
                for name in red
            )
        )
