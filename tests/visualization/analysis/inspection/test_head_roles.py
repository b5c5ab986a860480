"""A head is called after what most of its weight goes to."""

import numpy as np
import pytest
from numpy.typing import NDArray

from scratchformer.visualization.analysis.inspection.attention import SOURCE, Attention
from scratchformer.visualization.analysis.inspection.head_roles import ORDER, head_roles

N = 6


def of(weights: NDArray[np.floating], tokens: list[str] | None = None) -> tuple[str, float]:
    """The role of the one head of a row of one text."""
    tokens = tokens or [f"t{n}" for n in range(N)]
    maps = weights[None, None].astype(np.float32)
    (role,) = head_roles(Attention(maps, tokens, tokens, "token", "token"))
    return role.name, role.strength


def shifted(by: int) -> NDArray[np.floating]:
    """Everything on the token `by` places on; where there is none, spread evenly."""
    weights = np.eye(N, k=by)
    weights[weights.sum(axis=1) == 0] = 1 / N
    return weights


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("previous token", shifted(-1)),
        ("token itself", shifted(0)),
        ("next token", shifted(1)),
        ("first token", np.eye(N)[[0] * N]),
        ("last token", np.eye(N)[[N - 1] * N]),
        ("all tokens alike", np.full((N, N), 1 / N)),
    ],
)
def test_clear_heads(name: str, weights: NDArray[np.floating]) -> None:
    assert of(weights)[0] == name


def test_equal_tokens_are_those_with_the_same_name() -> None:
    tokens = ["a", "b", "c", "a", "b", "c"]
    weights = np.eye(N)[[3, 4, 5, 0, 1, 2]]
    assert of(weights, tokens) == ("equal tokens", 1.0)


def test_half_and_half_is_mixed() -> None:
    weights = 0.3 * np.eye(N)[[3, 4, 5, 0, 1, 2]] + 0.7 * np.eye(N)[[4, 5, 0, 1, 2, 3]]
    assert of(weights)[0] == "mixed"


def test_the_strength_is_the_share_of_the_weight() -> None:
    assert of(0.5 * np.eye(N) + 0.5 * np.full((N, N), 1 / N)) == (
        "token itself", pytest.approx(0.5 + 0.5 / N),
    )  # fmt: skip


def test_a_decoder_looks_back_at_what_it_has_written() -> None:
    predicted, given = [f"t{n}" for n in range(1, N + 1)], [f"t{n}" for n in range(N)]
    last, before = np.eye(N), np.eye(N, k=-1)
    before[0, 0] = 1
    maps = np.stack([before, last])[None].astype(np.float32)
    roles = head_roles(Attention(maps, predicted, given, "predicted token", "written"))
    assert [(role.head, role.name) for role in roles] == [
        (1, "last written token"), (0, "token before it"),
    ]  # fmt: skip


def test_cross_attention_along_the_diagonal() -> None:
    maps = np.zeros((1, 1, 3, 6), np.float32)
    for query, key in enumerate((0, 3, 5)):
        maps[0, 0, query, key] = 1
    (role,) = head_roles(Attention(maps, list("abc"), list("uvwxyz"), "predicted token", SOURCE))
    assert (role.name, role.strength) == ("along the diagonal", 1.0)


def test_heads_are_sorted_by_what_they_do_and_then_by_how_clearly() -> None:
    weak = 0.6 * shifted(-1) + 0.4 / N
    maps = np.stack([shifted(0), weak, shifted(-1)])[None].astype(np.float32)
    tokens = [f"t{n}" for n in range(N)]
    roles = head_roles(Attention(maps, tokens, tokens, "token", "token"))
    assert [role.head for role in roles] == [2, 1, 0]
    assert [ORDER.index(role.name) for role in roles] == sorted(
        ORDER.index(role.name) for role in roles
    )
