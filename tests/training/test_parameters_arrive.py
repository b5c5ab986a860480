"""Every key of the sections `train_scratch` and `run` reaches what it promises to change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.conftest import make_stage_folder
from tests.training.test_not_finite import poison

from scratchformer.base.errors import ParamsError
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.params import Params
from scratchformer.runtime import device
from scratchformer.stages import train_scratch as stage
from scratchformer.stages.runner import Deal, _processes
from scratchformer.tracking import StageRun
from scratchformer.training.averaging import AVERAGES
from scratchformer.training.gates import GATES, run_gates
from scratchformer.training.loop import NotFiniteError, Training
from scratchformer.training.objectives.losses.make import LOSSES
from scratchformer.training.optimizers.explicit import ExplicitOptimizer
from scratchformer.training.optimizers.optimizer import OPTIMIZERS
from scratchformer.training.schedule import SCHEDULES

Make = Callable[..., Training]
Shown = Callable[[Make], bool]
KINDS = tuple(OPTIMIZERS)
ONE_UPDATE = {"max_steps": 1, "validate_every": 1, "warmup_steps": 0, "schedule": "constant"}


def finished(make: Make, **changes: Any) -> Training:
    one = make(folder=str(sorted(changes.items())).replace("/", ""), **changes)
    one.run()
    return one


def weights(one: Training) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in one.parameters.values()])


def rows(one: Training, curve: str) -> int:
    return len(one.recorder.history.path(curve).read_text().splitlines()) - 1


def other_model(key: str, *values: Any, context: dict[str, Any] = {}) -> Shown:  # noqa: B006
    """The config has the value, and the model has other shapes or computes other logits."""

    def shown(make: Make) -> bool:
        seen = set()
        for value in values:
            one = make(**context, **{f"model__{key}": value})
            if getattr(one.model.config, key) != value:
                return False
            one.model.train()  # dropout is one of the keys
            torch.manual_seed(0)
            logits, _ = one.objective.predict(one.batches.batch(0))
            shapes = tuple(parameter.shape for parameter in one.parameters.values())
            seen.add((shapes, logits.detach().numpy().tobytes()))
        return len(seen) == len(values)

    return shown


def one_kernel_or_the_equation(make: Make) -> bool:
    """Both compute the same; only one calls torch's kernel."""
    calls: dict[str, int] = {}
    for value in ("fused", "explicit"):
        one = make(model__attention=value, model__dropout=0.0)
        with torch.profiler.profile() as profile:
            one.objective.predict(one.batches.batch(0))
        calls[value] = sum("scaled_dot_product" in event.key for event in profile.key_averages())
    return calls["fused"] > 0 and calls["explicit"] == 0


def learning_rate(make: Make) -> bool:
    rates = [finished(make, **ONE_UPDATE, learning_rate=rate) for rate in (0.01, 0.002)]
    return [one.state.learning_rate for one in rates] == [0.01, 0.002]


def moves_in_proportion(make: Make) -> bool:
    """Half the rate, half the way: the optimizer gets it, not only the history."""
    start = weights(make(folder="start"))
    far, near = (
        weights(finished(make, **ONE_UPDATE, weight_decay=0.0, learning_rate=rate)) - start
        for rate in (0.01, 0.005)
    )
    return learning_rate(make) and torch.allclose(far, 2 * near, atol=1e-6)


def kinds(make: Make) -> bool:
    """Every kind makes updates of its own."""
    ends = {weights(finished(make, optimizer={"kind": kind})).numpy().tobytes() for kind in KINDS}
    return len(ends) == len(KINDS)


def other_update(kind: str, key: str, *values: Any) -> Shown:
    """Two updates, because momentum and betas are not seen in the first."""
    few = {"max_steps": 2, "validate_every": 2, "clip_norm": 1e9}

    def shown(make: Make) -> bool:
        made = [finished(make, **few, optimizer={"kind": kind, key: value}) for value in values]
        return len({weights(one).numpy().tobytes() for one in made}) == len(values)

    return shown


def implementations(make: Make) -> bool:
    found = [make(optimizer={"implementation": value}).optimizer for value in ("fused", "explicit")]
    return [type(one) for one in found] == [torch.optim.AdamW, ExplicitOptimizer]


def averages(make: Make) -> bool:
    few = {"max_steps": 4, "validate_every": 1, "optimizer": {"kind": "sgd"}}
    found = [finished(make, **few, averaging={"kind": kind}) for kind in AVERAGES]
    return len({weights(one).numpy().tobytes() for one in found}) == len(AVERAGES)


def other_average(kind: str, key: str, *values: Any) -> Shown:
    few = {"max_steps": 4, "validate_every": 1, "optimizer": {"kind": "sgd"}}

    def shown(make: Make) -> bool:
        made = [finished(make, **few, averaging={"kind": kind, key: each}) for each in values]
        return len({weights(one).numpy().tobytes() for one in made}) == len(values)

    return shown


def schedules(make: Make) -> bool:
    rates = set()
    for name in SCHEDULES:
        one = finished(make, schedule=name, max_steps=9, validate_every=9)
        rates.add(round(one.state.learning_rate, 12))
    return len(rates) == len(SCHEDULES)


def warm_up(make: Make) -> bool:
    changes = {"max_steps": 2, "validate_every": 2, "schedule": "constant"}
    found = [finished(make, warmup_steps=steps, **changes) for steps in (0, 4, 8)]
    return [one.state.learning_rate for one in found] == [0.01, 0.005, 0.0025]


def decay(make: Make) -> bool:
    """AdamW: w ← (1 - η·λ)·w, of matrices only; the rest of the update is the same."""
    start = weights(make(folder="start"))
    none, much = (finished(make, **ONE_UPDATE, weight_decay=value) for value in (0.0, 2.0))
    matrix = torch.cat(
        [torch.full((p.numel(),), float(p.ndim > 1)) for p in none.parameters.values()]
    )
    return torch.allclose(weights(much), weights(none) - 0.01 * 2.0 * start * matrix, atol=1e-6)


def clipping(make: Make) -> bool:
    """AdamW's first moment after one update is (1 - β₁) = 0.1 times the clipped gradient."""
    lengths = []
    for clip in (0.5, 0.25):
        one = finished(make, **ONE_UPDATE, clip_norm=clip)
        moments = [one.optimizer.state[p]["exp_avg"].norm() for p in one.parameters.values()]
        lengths.append(10 * torch.stack(moments).norm().item())
    return lengths == pytest.approx([0.5, 0.25], rel=1e-4)


def losses(make: Make) -> bool:
    """Every kind makes an update of its own."""
    changes = {**ONE_UPDATE, "label_smoothing": 0.0}
    ends = [finished(make, **changes, loss={"kind": kind}) for kind in LOSSES]
    return len({weights(one).numpy().tobytes() for one in ends}) == len(LOSSES)


def other_loss(kind: str, key: str, *values: Any) -> Shown:
    changes = {**ONE_UPDATE, "label_smoothing": 0.0}

    def shown(make: Make) -> bool:
        made = [finished(make, **changes, loss={"kind": kind, key: each}) for each in values]
        return len({one.state.train_loss for one in made}) == len(values)

    return shown


def smoothing(make: Make) -> bool:
    """Of the training loss, not of the validation loss before the first update."""
    changes = {**ONE_UPDATE, "model__dropout": 0.0}
    sharp, smooth = (make(label_smoothing=value, folder=str(value)) for value in (0.0, 0.3))
    same = sharp.objective.validate().values == smooth.objective.validate().values
    losses = [finished(make, label_smoothing=e, **changes).state.train_loss for e in (0.0, 0.3)]
    return same and losses[0] != losses[1]


def patience(make: Make) -> bool:
    """At a rate that moves nothing no validation is better than the first."""
    still = {"learning_rate": 1e-30, "validate_every": 1, "model__dropout": 0.0}
    return [finished(make, **still, patience=many).state.step for many in (1, 3)] == [2, 4]


def skipped(make: Make) -> bool:
    names = [gate.name for gate in GATES]
    one = make(skip_gates=[name for name in names if name != "future"])
    found, _ = run_gates(one.objective, one.batches, one.settings, 1, one.settings.skip_gates)
    judged = [name for name, outcome in found.items() if outcome.state != "skipped"]
    return list(found) == names and judged == ["future"]


def bad_updates(make: Make) -> bool:
    with pytest.raises(NotFiniteError):
        poison(make(not_finite="raise", folder="raise"), (6,)).run()
    policies = (make(not_finite=policy, folder=policy) for policy in ("skip", "rollback"))
    return [poison(one, (6,)).run().rolled_back for one in policies] == [0, 1]


def counted(
    key: str, values: tuple[int, ...], count: Callable[[Training], int], *found: int
) -> Shown:
    """A number of steps, rows or tokens that the key decides."""

    def shown(make: Make) -> bool:
        return tuple(count(finished(make, **{key: value})) for value in values) == found

    return shown


def positions(make: Make) -> bool:
    """No batch is larger, and the larger limit is used."""
    largest = []
    for limit in (32, 64):
        batches = make(batch_tokens=limit).batches
        sizes = [batches.batch(index).source.size for index in range(len(batches))]
        largest.append(max(sizes))
        if not limit / 2 < max(sizes) <= limit:
            return False
    return largest[0] < largest[1]


def joint_batches(make: Make) -> bool:
    one, three = (finished(make, accumulate=parts, max_steps=4) for parts in (1, 3))
    expected = [sum(one.batches.batch(place).tokens for place in range(end)) for end in (4, 12)]
    return [one.state.tokens, three.state.tokens] == expected


def samples(make: Make) -> bool:
    return [len(make(decode_samples=n).objective.validate().samples) for n in (3, 8)] == [3, 8]


ARRIVES: dict[str, Shown] = {
    "train_scratch.model.d_model": other_model("d_model", 16, 24),
    "train_scratch.model.num_heads": other_model("num_heads", 2, 4),
    "train_scratch.model.num_kv_heads": other_model("num_kv_heads", 0, 1),
    "train_scratch.model.d_ff": other_model("d_ff", 32, 16),
    "train_scratch.model.num_encoder_layers": other_model("num_encoder_layers", 1, 2),
    "train_scratch.model.num_decoder_layers": other_model("num_decoder_layers", 1, 2),
    "train_scratch.model.dropout": other_model("dropout", 0.0, 0.1, 0.5),
    "train_scratch.model.norm": other_model("norm", "layer", "rms"),
    "train_scratch.model.norm_position": other_model("norm_position", "pre", "post"),
    "train_scratch.model.activation": other_model("activation", "relu", "gelu", "swiglu"),
    "train_scratch.model.positions": other_model(
        "positions", "sinusoidal", "sinusoidal_halves", "learned", "rotary", "alibi"
    ),
    "train_scratch.model.tie_embeddings": other_model("tie_embeddings", "none", "decoder", "all"),
    "train_scratch.model.initialization": other_model(
        "initialization", "xavier", "depth_scaled", context={"model__num_encoder_layers": 2}
    ),
    "train_scratch.model.attention": one_kernel_or_the_equation,
    "train_scratch.optimizer.kind": kinds,
    "train_scratch.optimizer.learning_rate": moves_in_proportion,
    "train_scratch.optimizer.betas": other_update("adamw", "betas", [0.5, 0.98], [0.9, 0.98]),
    "train_scratch.optimizer.epsilon": other_update("adamw", "epsilon", 1e-9, 0.1),
    "train_scratch.optimizer.weight_decay": decay,
    "train_scratch.optimizer.implementation": implementations,
    "train_scratch.optimizer.momentum": other_update("sgd", "momentum", 0.0, 0.9),
    "train_scratch.optimizer.nesterov": other_update("muon", "nesterov", False, True),
    "train_scratch.optimizer.adamw_share": other_update("muon", "adamw_share", 0.1, 0.5),
    "train_scratch.averaging.kind": averages,
    "train_scratch.averaging.decay": other_average("exponential", "decay", 0.5, 0.1),
    "train_scratch.averaging.validations": other_average("last", "validations", 2, 3),
    "train_scratch.schedule": schedules,
    "train_scratch.warmup_steps": warm_up,
    "train_scratch.clip_norm": clipping,
    "train_scratch.loss.kind": losses,
    "train_scratch.loss.gamma": other_loss("focal", "gamma", 0.0, 1.0, 2.0),
    "train_scratch.loss.alpha": other_loss("r_drop", "alpha", 1.0, 5.0),
    "train_scratch.label_smoothing": smoothing,
    "train_scratch.batch_tokens": positions,
    "train_scratch.accumulate": joint_batches,
    "train_scratch.max_steps": counted("max_steps", (4, 7), lambda one: one.state.step, 4, 7),
    "train_scratch.validate_every": counted(
        "validate_every", (4, 5), lambda one: rows(one, "valid"), 3, 3
    ),
    "train_scratch.patience": patience,
    "train_scratch.decode_samples": samples,
    "train_scratch.log_every": counted("log_every", (3, 4), lambda one: rows(one, "train"), 4, 3),
    "train_scratch.skip_gates": skipped,
    "train_scratch.not_finite": bad_updates,
    "train_scratch.diagnose_every": counted(
        "diagnose_every", (0, 6), lambda one: rows(one, "diagnostics"), 0, 2
    ),
}


def prepared(params: Params, **changes: Any) -> Training:
    """The training that the stage puts together for another value in the section `run`."""
    changed = params.model_copy(update={"run": params.run.model_copy(update=changes)})
    return stage._training(changed, Checkpoints(Path("checkpoints")), StageRun(None))


def seeds(params: Params) -> bool:
    """First weights, order of the rows, and dropout by the loop."""
    one, other = (prepared(params, seed=seed) for seed in (1, 2))
    rows = [each.batches.batch(0).rows.tolist() for each in (one, other)]
    drawn = not torch.equal(weights(one), weights(other)) and rows[0] != rows[1]
    return drawn and (one.seed, other.seed) == (1, 2)


class OpenedError(Exception):
    """Raised in place of the search for a machine; holds what was asked for."""


def asked_of_the_machine(key: str, value: Any) -> Callable[[Params], bool]:
    """What the stage asks `open_machine` for; tests/runtime/test_device.py shows what that does."""

    def arrived(params: Params) -> bool:
        names = ("device", "threads", "precision", "compile")

        def note(*asked: Any) -> None:
            raise OpenedError(dict(zip(names, asked, strict=True)))

        run = params.run.model_copy(update={key: value})
        with pytest.MonkeyPatch.context() as patch, pytest.raises(OpenedError) as caught:
            patch.setattr(device, "open_machine", note)
            stage.train_scratch(params.model_copy(update={"run": run}), StageRun(None))
        before, after = (section.model_dump() for section in (params.run, run))
        asked = caught.value.args[0]
        return before[key] != after[key] and asked == {name: after[name] for name in asked}

    return arrived


def starts_processes(params: Params) -> bool:
    """The numbers that the runner starts; tests/survival/test_ranks.py shows what they do."""
    passes = Deal("train_scratch.accumulate", lambda changed: changed.train_scratch.accumulate)
    batches = Deal(on_cpu=2)  # of evaluate: as many as there are

    def started(processes: int | str, accumulate: int, deal: Deal = passes) -> int:
        update = {"processes": processes, "device": "cpu", "threads": 4}
        run = params.run.model_copy(update=update)
        settings = params.train_scratch.model_copy(update={"accumulate": accumulate})
        return _processes(params.model_copy(update={"run": run, "train_scratch": settings}), deal)

    with pytest.raises(ParamsError, match=r"accumulate is 2.*set processes: 2"):
        started(3, 2)
    found = [started(1, 3), started(3, 3), started("auto", 1), started("auto", 2)]
    shared = [started(1, 1, batches), started(8, 1, batches), started("auto", 9, batches)]
    return (found, shared) == ([1, 3, 1, 2], [1, 8, 2]) and started("auto", 9) == 4


def noisy(key: str, algorithm: str) -> Callable[[Params], bool]:
    """Of the batches that are trained on, and of no others."""

    def arrived(_: Params) -> bool:
        found = {}
        for value in (0.0, 0.5):
            folder = Path(str(value)).resolve()
            with pytest.MonkeyPatch.context() as patch:
                params = make_stage_folder(folder, algorithm, **{key: value})
                patch.chdir(folder)
                one = stage._training(params, Checkpoints(Path("c")), StageRun(None))
            batches, valid = one.batches, one.objective._valid
            found[value] = [
                each.source.tobytes()
                for each in (batches.batch(0), batches.collate(np.arange(5)), valid.batch(0))
            ]
        changed = [one != other for one, other in zip(*found.values(), strict=True)]
        return changed == [True, False, False]

    return arrived


# Of `run`, and what the stage puts together of `train_scratch`.
RUN_ARRIVES: dict[str, Callable[[Params], bool]] = {
    "run.seed": seeds,
    "train_scratch.word_dropout": noisy("word_dropout", "character"),
    "train_scratch.bpe_dropout": noisy("bpe_dropout", "bpe"),
    "run.device": asked_of_the_machine("device", "mps"),
    "run.precision": asked_of_the_machine("precision", "bfloat16"),
    "run.threads": asked_of_the_machine("threads", 7),
    "run.processes": starts_processes,
    "run.compile": asked_of_the_machine("compile", True),
}


@pytest.mark.parametrize("key", RUN_ARRIVES)
def test_a_parameter_of_the_run_arrives(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RUN_ARRIVES[key](make_stage_folder(tmp_path))


@pytest.mark.parametrize("key", ARRIVES)
def test_a_parameter_of_the_training_arrives(key: str, training: Make) -> None:
    assert ARRIVES[key](training)
