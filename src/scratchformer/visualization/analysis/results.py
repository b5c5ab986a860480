"""The numbers of reports/metrics.json as scores of systems, in the order in which they are read."""

from collections.abc import Iterator, Mapping
from typing import Any

from scratchformer.base.layout import TrackName
from scratchformer.base.measures import MEASURES
from scratchformer.evaluation.systems.names import SYSTEMS
from scratchformer.visualization.plots.scores import Score

# Name on the page and the better direction; the order is that of columns and panels.
METRICS: Mapping[str, tuple[str, str]] = {
    key: (measure.title, "higher" if measure.higher_is_better else "lower")
    for key, measure in MEASURES.items()
}
BETTER = dict(METRICS.values())
# In the table only: a bar says nothing without a scale, or says what another one says already.
WITHOUT_BARS = {measure.title for measure in MEASURES.values() if not measure.as_bar}
_WITH_TRANSFORMER = ("probe", "scratch")


def scores_of_track(track: TrackName, node: Mapping[str, Any]) -> list[Score]:
    """All scores under `scratch` or `finetune`, from the weakest claim to the model."""
    baselines = node.get("baselines", {})
    simple = {key: values for key, values in baselines.items() if key not in _WITH_TRANSFORMER}
    others = {key: values for key, values in baselines.items() if key in _WITH_TRANSFORMER}
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
    return SYSTEMS[key].title if key in SYSTEMS else key.replace("_", " ")


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
        rows += _differences(system_name("before"), node["delta"])
    for key, against in node.get("against", {}).items():
        rows += _differences(system_name(key), against)
    return rows


def _differences(system: str, changes: Mapping[str, Any]) -> Iterator[list[str]]:
    for key, change in changes.items():
        if not _said_by_wer(key, changes):
            ends = f"[{change['low']:+.3f}, {change['high']:+.3f}]" if "low" in change else ""
            yield [
                system,
                METRICS[key][0] if key in METRICS else key,
                f"{change['value']:+.3f}",
                ends,
                "",
                _p_value(change["p_value"]),
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
