"""What a training costs, in floating-point operations, before it is paid for."""

from itertools import islice

from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.data.tokenized.read import load_tokenized_info, open_split
from scratchformer.params import Params
from scratchformer.training.build import build_objective
from scratchformer.training.flops import flops_of, shape_of

_BATCHES = 50


def flops_of_training(params: Params, steps: int) -> float:
    """Operations of `steps` updates, padding included (see monitoring/flops.py): the mean of the
    first batches, times their number. Runs in the root of a checkout that is tokenized."""
    settings, seed = params.train_scratch, params.run.seed
    info = load_tokenized_info("scratch")
    train = TokenBatches(open_split("scratch", "train"), settings.batch_tokens, seed)
    valid = TokenBatches(open_split("scratch", "valid"), settings.batch_tokens, seed)
    flops = flops_of(build_objective(settings, info, valid, seed).model)
    passes = steps * settings.accumulate
    some = [flops.of(shape_of(train.batch(place))) for place in islice(range(passes), _BATCHES)]
    return passes * sum(some) / len(some)
