"""The numbers of reports/metrics.json as scores of systems, in the order in which they are read."""

from collections.abc import Iterator, Mapping
from typing import Any

from scratchformer.base.layout import TrackName
from scratchformer.evaluation.systems.names import SYSTEM_NAMES, WITH_TRANSFORMER
from scratchformer.visualization.plots.scores import Score

# Name on the page and the better direction; the order is that of columns and panels.
METRICS: Mapping[str, tuple[str, str]] = {
    "accuracy": ("accuracy", "higher"),
    "macro_f1": ("macro-F1", "higher"),
    "wer": ("word error rate", "lower"),
    "per": ("phoneme error rate", "lower"),
    "cer": ("character error rate", "lower"),
    "token_error_rate": ("token error rate", "lower"),
    "exact_match": ("exact match", "higher"),
    "bleu": ("BLEU", "higher"),
    "chrf": ("chrF", "higher"),
    "token_accuracy": ("token accuracy", "higher"),
    "loss": ("loss (nats)", "lower"),
    "perplexity": ("perplexity", "lower"),
    "ece": ("calibration error", "lower"),
}
BETTER = dict(METRICS.values())
# In the table only: a bar says nothing without a scale, or says what another one says already.
WITHOUT_BARS = {"token accuracy", "loss (nats)", "perplexity", "calibration error"}


def scores_of_track(track: TrackName, node: Mapping[str, Any]) -> list[Score]:
    """All scores under `scratch` or `finetune`, from the weakest claim to the model."""
    baselines = node.get("baselines", {})
    simple = {key: values for key, values in baselines.items() if key not in WITH_TRANSFORMER}
    others = {key: values for key, values in baselines.items() if key in WITH_TRANSFORMER}
    systems = {**simple, "scratch": node}
    if track == "finetune":
        before, after = ({key: node[key]} if key in node else {} for key in ("before", "after"))
        systems = {**simple, **before, **others, **after}
    own = "scratch" if track == "scratch" else "after"
    roles = {"before": "before", own: "after"}
    return [
        score
        for key, values in systems.items()
        for score in _scores(system_name(key), roles.get(key, "control"), values)
    ]


def system_name(key: str) -> str:
    """A system as it is written on the page."""
    return SYSTEM_NAMES.get(key, key.replace("_", " "))


def _scores(system: str, role: str, values: Mapping[str, Any]) -> Iterator[Score]:
    intervals = values.get("intervals", {})
    for key, (metric, _) in METRICS.items():
        if isinstance(values.get(key), int | float) and not _said_by_wer(key, values):
            interval = intervals.get(key, {})
            yield Score(
                system, role, metric, values[key], interval.get("low"), interval.get("high")
            )


def _said_by_wer(key: str, values: Mapping[str, Any]) -> bool:
    """The share of exact rows is one minus the word error rate; once is enough."""
    return key == "exact_match" and "wer" in values


def difference_rows(node: Mapping[str, Any]) -> list[list[str]]:
    """Paired differences of a track's model to every other system, as table rows: compared with,
    metric, difference, interval, McNemar's p-value, permutation p-value."""
    rows: list[list[str]] = []
    if "delta" in node:
        rows += _differences(system_name("before"), node)
    for key, against in node.get("against", {}).items():
        rows += _differences(system_name(key), _as_node(against))
    return rows


def _as_node(against: Mapping[str, Any]) -> Mapping[str, Any]:
    """The comparison with another system, in the form of the track's own: differences apart from
    the p-value of the permutation test, which sequences do not have."""
    if "delta" in against:
        return against
    delta = {key: value for key, value in against.items() if isinstance(value, Mapping)}
    tests = {"permutation": {"p_value": against["p_value"]}} if "p_value" in against else {}
    return {"delta": delta, **tests}


def _differences(system: str, node: Mapping[str, Any]) -> Iterator[list[str]]:
    for key, change in node["delta"].items():
        if _said_by_wer(key, node["delta"]):
            continue
        tests = [
            _p_value(node[test]["p_value"]) if key == "accuracy" and test in node else ""
            for test in ("mcnemar", "permutation")
        ]
        yield [
            system,
            METRICS[key][0] if key in METRICS else key,
            f"{change['value']:+.3f}",
            f"[{change['low']:+.3f}, {change['high']:+.3f}]",
            *tests,
        ]


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def signatures(node: Mapping[str, Any]) -> list[str]:
    """What sacrebleu asks to be named beside its scores."""
    return [str(value) for key, value in node.items() if key.endswith("_signature")]


def method(metrics: Mapping[str, Any], track: TrackName) -> str:
    """How the intervals of a track were made: "95% bootstrap intervals (2,000 resamples of …)"."""
    settings, node = metrics.get("method"), metrics.get(track, {})
    if not settings:
        return "intervals of a method that metrics.json does not name"
    groups = node.get("groups", node.get("n", 0))
    unit = f"{groups:,} groups" if groups < node.get("n", 0) else "rows"
    return (
        f"{settings['confidence']:.0%} bootstrap intervals "
        f"({settings['resamples']:,} resamples of {unit})"
    )
