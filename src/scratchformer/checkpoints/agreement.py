"""Several computers that train together have the same parameters, data and code.

On one computer all processes read the same folder. On several each reads its own, and a checkout
that was not brought up to date would add gradients of another model or other rows without a word.
"""

import json
from pathlib import Path

import torch

from scratchformer.base.errors import ParamsError
from scratchformer.checkpoints.fingerprint import Facts
from scratchformer.runtime.device import machine
from scratchformer.runtime.distributed import all_reduce_max, broadcast_bytes
from scratchformer.runtime.processes import world_size

_SHOWN = 5  # names of what differs
_OWN = ("run.threads", "machine.")  # of each computer for itself


def demand_agreement(facts: Facts) -> None:
    """Compare the facts of all processes with those of the first.

    Raises:
        ParamsError: in every process, if any of them differs.
    """
    if world_size() == 1:
        return
    device, mine = torch.device(machine().device), _shared(facts)
    first = json.loads(broadcast_bytes(json.dumps(mine).encode(), device))
    names = [*first, "what the first does not have"]
    differs = [mine.get(name, ...) != value for name, value in first.items()]
    differs.append(bool(mine.keys() - first.keys()))
    anywhere = all_reduce_max([float(each) for each in differs], device)
    apart = [name for name, each in zip(names, anywhere, strict=True) if each]
    if apart:
        more = f" and {len(apart) - _SHOWN} more" if len(apart) > _SHOWN else ""
        raise ParamsError(
            f"the computers of this training differ in: {', '.join(apart[:_SHOWN])}{more}; give "
            "them the same commit, params.yaml and tokenized data"
        )


def _shared(facts: Facts) -> Facts:
    """What is to be the same, paths outside the checkout by their last name only."""
    return {
        Path(name).name if Path(name).is_absolute() else name: value
        for name, value in facts.items()
        if not name.startswith(_OWN)
    }
