"""Trains the copy task in processes that it forks. Not a test itself.

    python train_in_ranks.py JOB.json

A job is a list of trainings, each {"folder", "processes", "settings", "stop_after"}; each process
leaves a hash of its weights. Imports are made once, before the forks.
"""

import hashlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pandas  # noqa: F401 - pyarrow loads it; here once, instead of in every fork
import torch
import torch._dynamo  # AdamW imports it, in 2 s
from tests.training.conftest import INFO, make_copy_table, make_settings
from tokenizers import Tokenizer
from tokenizers.models import BPE

from scratchformer.base.errors import Interrupted
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.data.tokenized.noise import make_noise
from scratchformer.runtime.distributed import joined
from scratchformer.text.tokenizers import TokenizerPair
from scratchformer.training.build import build_objective
from scratchformer.training.loop import Training
from scratchformer.transformer import save_model

# The ids of the copy task as BPE has them: six letters, and two pairs of them.
PIECES = {
    piece: 4 + place for place, piece in enumerate(["a", "b", "c", "d", "e", "f", "ab", "cd"])
}
BPE_TOKENS = Tokenizer(BPE(PIECES, [("a", "b"), ("c", "d")]))


def train(job: dict[str, Any], rank: int) -> None:
    """One process of one training; with `stop_after`, the last one gets SIGTERM at that update."""

    class Stopped(Training):
        def update(self) -> None:
            super().update()
            if self.state.step == job.get("stop_after") and rank == job["processes"] - 1:
                os.kill(os.getpid(), 15)

    settings = make_settings(**job["settings"])
    noise = make_noise(settings, TokenizerPair(BPE_TOKENS, BPE_TOKENS), INFO, 1)
    train_split = TokenBatches(make_copy_table(60), settings.batch_tokens, 1, noise=noise)
    valid = TokenBatches(make_copy_table(12, seed=9), settings.batch_tokens, 1)
    folder = Path(job["folder"])
    with joined():
        objective = build_objective(settings, INFO, valid, 1)
        training = Stopped(objective, train_split, settings, 1, Checkpoints(folder / "checkpoints"))
        try:
            training.run()
        except Interrupted:
            pass
        else:
            row = torch.cat([p.detach().flatten() for p in training.parameters.values()])
            digest = hashlib.sha256(row.numpy().tobytes()).hexdigest()
            (folder / f"weights-{rank}").write_text(digest)
            if rank == 0:
                save_model(training.model, folder / "model")


def main() -> None:
    torch.set_num_threads(1)
    for job in json.loads(Path(sys.argv[1]).read_text()):
        Path(job["folder"]).mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = []
        for rank in range(job["processes"]):
            if (pid := os.fork()) == 0:
                os.environ |= {
                    "RANK": str(rank), "WORLD_SIZE": str(job["processes"]),
                    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                }  # fmt: skip
                train(job, rank)
                os._exit(0)
            started.append(pid)
        for pid in started:
            if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
                sys.exit(1)


if __name__ == "__main__":
    main()
