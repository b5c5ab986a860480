"""The first losses of two tiny trainings are those that were recorded, in first_losses.json.

Same parameters, same numbers: this is the check from commit to commit. The tolerance covers
processors and builds of torch, which differ in the last bits; a change of first values, batches,
dropout, loss, optimizer or schedule is far outside of it.
"""

import json
import os
from pathlib import Path

import pytest

RECORD = Path(__file__).with_name("first_losses.json")
RENEW = f"RENEW=1 python -m pytest tests/training/{Path(__file__).name}"
UPDATES = 20
TOLERANCE = 1e-5  # relative; first weights that differ by 1e-6 move the losses by 3e-7
TRAININGS = {
    "pre-norm, swiglu, accumulated": {"model__activation": "swiglu", "accumulate": 2},
    "post-norm, relu, attention written out": {
        "model__norm_position": "post", "model__attention": "explicit",
        "optimizer": {"implementation": "explicit"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TRAININGS)
def test_the_first_losses_are_those_recorded(name, training):
    run = training(seed=5, max_steps=UPDATES, **TRAININGS[name])
    found = []
    for _ in range(UPDATES):
        loss, tokens = run.state.window_loss, run.state.window_tokens
        run.update()
        found.append((run.state.window_loss - loss) / (run.state.window_tokens - tokens))
    recorded = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    if os.environ.get("RENEW"):
        RECORD.write_text(json.dumps(recorded | {name: found}, indent=1) + "\n")
        return
    for update, (now, before) in enumerate(zip(found, recorded[name], strict=True), 1):
        if now != pytest.approx(before, rel=TOLERANCE):
            pytest.fail(
                f"loss of update {update}: recorded {before:.6f}, now {now:.6f}. If this change is "
                f"meant to move the numbers of trainings, say so in CHANGELOG.md and run: {RENEW}",
                pytrace=False,
            )
