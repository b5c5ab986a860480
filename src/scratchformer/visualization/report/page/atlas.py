"""Attention maps as compact data for the page's program."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchformer.visualization.analysis.inspection.attention import SOURCE, Attention
from scratchformer.visualization.analysis.inspection.head_roles import head_roles
from scratchformer.visualization.plots.labels import token_label
from scratchformer.visualization.report.page.items import Atlas, AtlasExample

MAX_BYTES = 500_000
"""Of all maps of one atlas; a byte a weight. What comes after that is left out, and said."""


def atlas_data(atlas: Atlas) -> dict[str, Any]:
    """What `atlas.js` reads: `examples` and `left_out`, the titles that had no room."""
    kept, left_out, room = [], [], MAX_BYTES
    for example in atlas.examples:
        size = sum(each.maps.size for sides in example.maps.values() for each in sides.values())
        if size <= room:
            room -= size
            kept.append(_example(example))
        else:
            left_out.append(example.title)
    return {"examples": kept, "left_out": left_out}


def _example(example: AtlasExample) -> dict[str, Any]:
    kinds = []
    for title, sides in example.maps.items():
        *_, last = sides.values()  # heads are sorted by what they do in the trained model
        kinds.append(
            {
                "title": title,
                "queries": _labels(last.query_tokens),
                "keys": _labels(last.key_tokens),
                "query_name": last.query_name,
                "key_name": last.key_name,
                "aligns": last.key_name == SOURCE,
                "layers": last.maps.shape[0],
                "heads": last.maps.shape[1],
                "sides": [{"name": name, **_packed(each)} for name, each in sides.items()],
                "roles": [
                    [role.layer, role.head, role.name, round(role.strength, 2)]
                    for role in head_roles(last)
                ],
            }
        )
    return {"title": example.title, "row": example.row, "kinds": kinds}


def _packed(attention: Attention) -> dict[str, Any]:
    """Weights 0 to 1 as bytes 0 to 255: exact to 0.002."""
    small = np.round(attention.maps * 255).astype(np.uint8)
    return {"maps": base64.b64encode(small.tobytes()).decode("ascii")}


def _labels(tokens: Sequence[str]) -> list[str]:
    return [token_label(token, 24) for token in tokens]
