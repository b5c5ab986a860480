"""Of several processes of one training the first reads and writes; the others get what it found."""

import json

import torch
from safetensors.torch import load, save

from scratchformer.checkpoints.checkpoint import Checkpoint
from scratchformer.runtime.distributed import broadcast_bytes
from scratchformer.runtime.processes import world_size


def checkpoint_of_first(found: Checkpoint | None, device: torch.device) -> Checkpoint | None:
    """What the first process found on its disk, which the others may not see.

    Args:
        found: counts in the first process only.
        device: the exchange goes over.
    """
    if world_size() == 1:
        return found
    facts = found and {"step": found.step, "facts": found.facts, "files": list(found.tensors)}
    head = json.loads(broadcast_bytes(json.dumps(facts).encode(), device))
    if head is None:
        return None
    tensors = {
        name: load(broadcast_bytes(save(dict(found.tensors[name])) if found else b"", device))
        for name in head["files"]
    }
    return Checkpoint(head["step"], tensors, head["facts"])
