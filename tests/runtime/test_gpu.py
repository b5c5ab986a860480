"""What only a real device can show. Skipped without a CUDA device; `TEST_DEVICE=mps` takes Apple's,
and `TEST_DEVICE=cpu` tries the tests themselves."""

import os
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from tests.runtime.test_device import assert_the_same_elsewhere
from tests.survival.test_ranks import digests, finish, make, rows, start

DEVICE = os.environ.get("TEST_DEVICE", "cuda")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA device here"
    ),
]
BFLOAT16_APART = 0.1  # nats a token, of a validation loss that fell from 2.2


def test_the_device_gives_what_the_cpu_gives(tmp_path: Path) -> None:
    """Losses of updates, validation, greedy, beam, evaluate's scores and predict."""
    assert_the_same_elsewhere(tmp_path, DEVICE, rtol=1e-3)


def test_a_killed_training_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed, killed = (
        make(tmp_path / name, 1, device=DEVICE) for name in ("undisturbed", "killed")
    )
    finish(undisturbed)
    process = start(killed)
    while rows(killed) < 8:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert "resuming after step" in finish(killed)
    assert digests(killed) == digests(undisturbed)


def test_bfloat16_learns_as_float32_does(tmp_path: Path) -> None:
    """The last validation loss; if the device has no units for bfloat16, the stage says so."""
    losses = {}
    for precision in ("float32", "bfloat16"):
        folder = make(tmp_path / precision, 1, steps=120, device=DEVICE, precision=precision)
        if precision == "bfloat16":
            process = start(folder)
            said, errors = process.communicate(timeout=300)
            if "has no units for it" in errors:
                pytest.skip(errors.strip())
            assert process.returncode == 0 and "bfloat16" in said, errors
        else:
            finish(folder)
        losses[precision] = pd.read_csv(folder / "reports/history/scratch/valid.csv")["loss"]
    print(f"\nvalidation loss after 120 updates: {losses['float32'].iloc[-1]:.4f} in float32, "
          f"{losses['bfloat16'].iloc[-1]:.4f} in bfloat16")  # fmt: skip
    assert losses["float32"].iloc[-1] < losses["float32"].iloc[0] - 0.5
    apart = (losses["bfloat16"] - losses["float32"]).abs()
    assert apart.max() > 0 and apart.iloc[-1] < BFLOAT16_APART
