"""Every combination of the choices of a model trains, or is refused before anything is made."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from tests.committed import DEFAULT_PARAMS
from tests.training.conftest import VOCABULARY, make_copy_table

from scratchformer.base.errors import ParamsError
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import Params, read_yaml
from scratchformer.params.reading import parse_params
from scratchformer.params.schema import Model
from scratchformer.training.build import build_objective
from scratchformer.training.optimizers.optimizer import make_optimizer

LITERALS = {
    name: get_args(field.annotation)
    for name, field in Model.model_fields.items()
    if get_origin(field.annotation) is Literal
}
# Odd widths, odd widths of a head, and heads that do not divide are among the sizes.
SIZES = {
    "d_model": (6, 8, 9, 12), "num_heads": (1, 2, 3), "num_kv_heads": (0, 1, 2), "d_ff": (1, 7),
    "num_encoder_layers": (1, 2), "num_decoder_layers": (1, 2), "dropout": (0.0, 0.99),
}  # fmt: skip
CHOICES: dict[str, Sequence[Any]] = {**LITERALS, **SIZES, "shared_vocabulary": (False, True)}
TRIES = 40  # nearly nine of ten fills of a pair are refused, most for a width that does not divide


DOCUMENT = read_yaml(DEFAULT_PARAMS)


def parse(combination: Mapping[str, Any]) -> Params:
    model = dict(combination)
    DOCUMENT["tokenize"]["scratch"]["shared_vocabulary"] = model.pop("shared_vocabulary")
    DOCUMENT["train_scratch"]["model"].update(model)
    return parse_params(DOCUMENT, DEFAULT_PARAMS)


def pairwise(seed: int) -> Iterator[tuple[dict[str, Any], Params | None]]:
    """Combinations in which any two values of two choices meet, and their parameters.

    None where the schema refuses the combination; then others are tried for the same pair.
    """
    draw = random.Random(seed)
    left = dict.fromkeys(
        ((one, first), (other, second))
        for one, other in itertools.combinations(CHOICES, 2)
        for first, second in itertools.product(CHOICES[one], CHOICES[other])
    )
    while left:
        pair = next(iter(left))
        for _ in range(TRIES):
            combination = {name: draw.choice(values) for name, values in CHOICES.items()}
            combination |= dict(pair)
            try:
                params = parse(combination)
            except ParamsError as error:
                assert "train_scratch.model" in str(error), combination
                yield combination, None
                continue
            yield combination, params
            for met in itertools.combinations(combination.items(), 2):
                left.pop(met, None)
            break
        left.pop(pair, None)  # met, or refused whatever stands beside it


def test_every_choice_of_a_model_is_walked() -> None:
    assert CHOICES.keys() - {"shared_vocabulary"} == Model.model_fields.keys()


@pytest.mark.parametrize("labelled", [False, True], ids=["seq2seq", "classification"])
def test_a_combination_makes_an_update_or_is_refused_with_its_reason(labelled: bool) -> None:
    table = make_copy_table(12)
    if labelled:
        table = table.drop_columns("target").append_column("label", table.column("row"))
    batches = TokenBatches(table, 64, 0)
    info = {
        "task": "classification" if labelled else "seq2seq", "num_labels": 12,
        "source_vocab_size": VOCABULARY,
        "max_source_length": 7, "max_target_length": 7,
    }  # fmt: skip
    trained = refused = 0
    for combination, params in pairwise(seed=int(labelled)):
        if params is None:
            refused += 1
            continue
        settings = params.train_scratch
        shared = params.tokenize.scratch.shared_vocabulary
        sizes = {"target_vocab_size": VOCABULARY + (not shared)}
        objective = build_objective(settings, {**info, **sizes}, batches, 0)
        batch = batches.batch(0)
        loss = objective.backward(batch, batch.tokens)
        optimizer = make_optimizer(objective.model, settings.optimizer)
        optimizer.param_groups[0]["lr"] = 1e-3
        optimizer.step()
        assert torch.tensor(loss).isfinite(), combination
        for name, parameter in objective.model.named_parameters():
            assert parameter.isfinite().all(), (name, combination)
        trained += 1
    assert trained > 20 and refused > 20
