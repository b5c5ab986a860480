"""What do diagnostics cost, as a share of the training's time?

    python benchmarks/diagnostics_overhead.py [--pairs 12]

Updates of the default training, on random ids, in pairs: the same batch without and with
diagnostics, turns changed, so that a busy machine slows both alike. CPU time of all threads.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import load_params
from scratchformer.runtime.device import open_machine
from scratchformer.training.build import build_objective
from scratchformer.training.loop import Training

IDS = 40


def make_training(every: int, folder: Path) -> Training:
    """The default training, on words of 3 to 12 random letters."""
    params = load_params()
    settings = params.train_scratch.model_copy(update={"diagnose_every": every})
    random = np.random.default_rng(0)
    words = [[*random.integers(4, IDS, random.integers(3, 12)).tolist(), 2] for _ in range(4000)]
    column = pa.array(words, pa.list_(pa.int32()))
    rows = pa.array(range(len(words)), pa.int32())
    table = pa.table({"row": rows, "source": column, "target": column})
    batches = TokenBatches(table, settings.batch_tokens, seed=0)
    info = {
        "task": "seq2seq", "source_vocab_size": IDS, "target_vocab_size": IDS,
        "max_source_length": 16, "max_target_length": 16,
    }  # fmt: skip
    objective = build_objective(settings, info, batches, seed=0)
    training = Training(objective, batches, settings, 0, Checkpoints(folder))
    training.recorder.history.start()
    return training


def seconds_of(training: Training) -> float:
    start = time.process_time()
    training.update()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=12)
    pairs = parser.parse_args().pairs
    params = load_params()
    open_machine("cpu", threads=1)  # one: the ratio is steadier
    with tempfile.TemporaryDirectory() as folder:
        plain = make_training(0, Path(folder) / "plain")
        diagnosed = make_training(1, Path(folder) / "diagnosed")
        for training in (plain, diagnosed):
            training.update()
        ratios = []
        for pair in range(pairs):
            order = (plain, diagnosed) if pair % 2 else (diagnosed, plain)
            seconds = {id(training): seconds_of(training) for training in order}
            ratios.append(seconds[id(diagnosed)] / seconds[id(plain)])
    every = params.train_scratch.diagnose_every
    ratio = statistics.median(ratios)
    print(f"an update with diagnostics takes {ratio:.2f} times one without (median of {pairs})")
    print(f"every {every} updates: {(ratio - 1) / every:.2%} of the training's time")


if __name__ == "__main__":
    main()
