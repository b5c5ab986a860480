"""Stage train_scratch: token ids → models/scratch/, reports/history/scratch/."""

from typing import TYPE_CHECKING

from scratchformer.base.layout import HISTORY, SCRATCH_MODEL, TOKENIZED, TOKENIZERS
from scratchformer.base.terminal import Summary
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.checkpoints.checkpoint import Checkpoints
    from scratchformer.tracking import StageRun
    from scratchformer.training.loop import Training
    from scratchformer.training.objectives.objective import Sample

SPLITS = {"train": TOKENIZED / "scratch/train.arrow", "valid": TOKENIZED / "scratch/valid.arrow"}
INPUTS = (*SPLITS.values(), TOKENIZED / "scratch/info.json", TOKENIZERS / "scratch")
SAMPLES_SHOWN = 3


def train_scratch(params: Params, run: "StageRun") -> Summary:
    """Train the from-scratch Transformer, or go on where a killed training of the same stopped."""
    from scratchformer.checkpoints.session import training_session
    from scratchformer.data.tokenized.read import load_tokenized_info
    from scratchformer.explanation.summary import summarize_training
    from scratchformer.runtime.device import open_machine
    from scratchformer.runtime.distributed import joined
    from scratchformer.runtime.processes import rank
    from scratchformer.training.outputs import results_of, write_outputs

    here = params.run
    machine = open_machine(here.device, here.threads, here.precision, here.compile)
    sections = {"run": params.run, "train_scratch": params.train_scratch}
    session = training_session("train_scratch", sections, INPUTS, machine.facts())
    with joined(), session as checkpoints:
        for split, path in SPLITS.items():
            run.log_input(split, path, "training" if split == "train" else "validation")
        training = _training(params, checkpoints, run)
        training.run()
        if rank():
            return Summary("train_scratch", [], [])
        write_outputs(
            training,
            TOKENIZERS / "scratch",
            load_tokenized_info("scratch").get("labels", []),
            SCRATCH_MODEL,
            HISTORY / "scratch",
        )
    results = results_of(training)
    run.log_summary(results)
    summary = summarize_training(results, HISTORY / "scratch", SCRATCH_MODEL, params.train_scratch)
    summary.rows.append(("ran on", machine.describe()))
    return summary


def _training(params: Params, checkpoints: "Checkpoints", run: "StageRun") -> "Training":
    """Data, model and loop, put together as the parameters say."""
    from scratchformer.base.terminal import say
    from scratchformer.data.tokenized.batches import TokenBatches
    from scratchformer.data.tokenized.noise import make_noise
    from scratchformer.data.tokenized.read import load_tokenized_info, open_split
    from scratchformer.text.tokenizers import load_tokenizers
    from scratchformer.training.build import build_objective
    from scratchformer.training.gates import pass_gates
    from scratchformer.training.loop import Training
    from scratchformer.training.outputs import readable

    settings, seed = params.train_scratch, params.run.seed
    info = load_tokenized_info("scratch")
    tokenizers = load_tokenizers(TOKENIZERS / "scratch")
    noise = make_noise(settings, tokenizers, info, seed)
    train = TokenBatches(open_split("scratch", "train"), settings.batch_tokens, seed, noise=noise)
    valid = TokenBatches(open_split("scratch", "valid"), settings.batch_tokens, seed)
    objective = build_objective(settings, info, valid, seed)

    def show(step: int, samples: "list[Sample]") -> None:
        rows = readable(samples, tokenizers, SAMPLES_SHOWN)
        for row in rows:
            sign = "=" if row["right"] == "yes" else "≠"
            say(f"  {row['source']}: {row['prediction']}  {sign}  {row['references']}")
        if rows:
            run.log_table("samples", [{"step": step, **row} for row in rows])

    return Training(
        objective,
        train,
        settings,
        seed,
        checkpoints,
        on_log=run.log_metrics,
        on_samples=show,
        before_first=lambda: pass_gates(objective, train, settings, seed),
    )


if __name__ == "__main__":
    from scratchformer.stages.runner import Deal, run_stage

    passes = Deal("train_scratch.accumulate", lambda params: params.train_scratch.accumulate)
    run_stage(train_scratch, passes)
