"""What stands first: what was trained, whether it is better than a baseline, and what to trust.

Every sentence is written from numbers of this run; none is kept from another one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from scratchformer.base.files import read_json
from scratchformer.base.layout import DATA_REPORT, HISTORY, TRACKS, TrackName
from scratchformer.data.preparation.prepared import load_info
from scratchformer.evaluation.significance.paired_tests import p_value_text
from scratchformer.params import Params
from scratchformer.record.metrics import Difference, Metrics, SystemScores, TrackScores
from scratchformer.record.systems import SYSTEMS
from scratchformer.visualization.analysis.headline import Headline, Outcome, direction, headline
from scratchformer.visualization.analysis.results import Score, method, scores_of_track
from scratchformer.visualization.plots.scores import headline_dots
from scratchformer.visualization.report.page.items import Picture

State = Literal["good", "mind", "bad"]
_WORDS: dict[State, str] = {"good": "Sound.", "mind": "Mind:", "bad": "Weak:"}
MANY_NEAR_DUPLICATES = 0.05  # share of the test rows


@dataclass(frozen=True)
class Number:
    """One of the numbers that answer first."""

    name: str
    value: str
    interval: str
    role: str  # model | before | control | difference


@dataclass(frozen=True)
class Answer:
    """One track in words."""

    name: TrackName
    title: str
    what: str
    numbers: Sequence[Number]
    verdict: str
    outcome: Outcome


@dataclass(frozen=True)
class Check:
    """One reason to trust the numbers, or not to."""

    state: State
    text: str

    @property
    def word(self) -> str:
        """The state for those who do not see its colour."""
        return _WORDS[self.state]


@dataclass(frozen=True)
class FirstScreen:
    """What stands first. `facts`: name and value of what all numbers depend on; `footer`: who made
    the page, if it is not the stage visualize."""

    title: str
    tracks: Sequence[Answer]
    pictures: Sequence[Picture]
    checks: Sequence[Check]
    facts: Sequence[tuple[str, str]]
    footer: str | None = None


def first_screen(params: Params, metrics: Metrics) -> FirstScreen:
    """The first screen of the report."""
    heads = {name: headline(track) for name, track in metrics.tracks.items()}
    return FirstScreen(
        "Trained from scratch, and fine-tuned: a report",
        [_answer(track, heads[name], params, metrics) for name, track in metrics.tracks.items()],
        [_picture(metrics, heads)] if heads else [],
        list(_checks(params, metrics, heads)),
        list(_facts(params, metrics)),
    )


def _answer(track: TrackScores, head: Headline, params: Params, metrics: Metrics) -> Answer:
    info = load_info(track.name)
    trained = f"{info.counts['train']:,} rows" if "train" in info.counts else "its training split"
    subject = (
        "A Transformer was trained from scratch on"
        if head.before is None
        else f"The pretrained model {params.pretrained.name} was fine-tuned on"
    )
    groups = f" in {track.groups:,} groups" if track.grouped else ""
    what = (
        f"{subject} {trained} of {info.name} ({info.description.rstrip('.')}) and tested once, on "
        f"{track.rows:,} other rows{groups}."
    )
    return Answer(
        track.name, TRACKS[track.name].title, what, list(_numbers(head)),
        " ".join(_verdict(head, metrics)), head.outcome,
    )  # fmt: skip


def _numbers(head: Headline) -> Iterator[Number]:
    measure = head.measure

    def number(system: SystemScores, name: str, role: str) -> Number:
        low, high = system.ends(measure.key)
        whole = measure.text_with_ends(system.scores[measure.key], low, high)
        value, _, interval = whole.partition(" [")
        return Number(name, value, interval and f"[{interval}", role)

    title = measure.title
    if head.before is not None:
        yield number(head.before, f"{title} before fine-tuning", "before")
        yield number(head.own, f"{title} after fine-tuning", "model")
    else:
        yield number(head.own, f"{title} of the model", "model")
    if head.rival is not None:
        name = SYSTEMS[head.rival.name].title
        yield number(head.rival, f"{title} of the best baseline, {name}", "control")
    if head.difference is not None:
        change = head.difference
        whole = measure.difference_text(change.value, change.low, change.high)
        value, _, interval = whole.partition(" [")
        yield Number("model minus baseline", value, interval and f"[{interval}", "difference")


def _verdict(head: Headline, metrics: Metrics) -> Iterator[str]:
    better = "higher" if head.measure.higher_is_better else "lower"
    if head.rival is None:
        yield "No baseline was measured, so nothing says whether the model was worth training."
    else:
        name = SYSTEMS[head.rival.name].title
        yield {
            "better": f"Better than the best baseline ({name}): {_said(head, metrics)}.",
            "worse": f"Worse than the best baseline ({name}): {_said(head, metrics)}.",
            "unclear": f"Not shown to be better than the best baseline ({name}): "
            f"{_said(head, metrics)}; other test rows could turn the order around.",
        }[head.outcome]
    if head.change is not None:
        yield {
            "better": "Fine-tuning helped",
            "worse": "Fine-tuning did harm",
            "unclear": "Fine-tuning is not shown to have changed anything",
        }[direction(head.measure, head.change)] + f": {_change(head, head.change, metrics)}."
    yield f"In {head.measure.title}, {better} is better."


def _said(head: Headline, metrics: Metrics) -> str:
    if head.difference is None:
        return "the two were not compared row by row"
    return _change(head, head.difference, metrics)


def _change(head: Headline, change: Difference, metrics: Metrics) -> str:
    text = head.measure.difference_text(change.value, change.low, change.high)
    return f"{text}, {p_value_text(change.p_value, metrics.smallest_p)}"


def _picture(metrics: Metrics, heads: dict[TrackName, Headline]) -> Picture:
    panels: dict[str, list[Score]] = {}
    for name, track in metrics.tracks.items():
        measure = heads[name].measure
        scores = [score for score in scores_of_track(track) if score.measure == measure]
        panels[TRACKS[name].title] = scores
    return Picture(
        "headline",
        "Every system in one picture",
        "A dot is a system, the line its interval. Grey: controls, simple baselines for the "
        "same task. All dots of a panel were scored on the same test rows.",
        headline_dots(panels),
    )


def _checks(
    params: Params, metrics: Metrics, heads: dict[TrackName, Headline]
) -> Iterator[Check]:
    """Leaks, gates, choices, seeds."""
    dropped: dict[str, Any] = read_json(DATA_REPORT) if DATA_REPORT.is_file() else {}
    for name, track in metrics.tracks.items():
        title = TRACKS[name].title
        if name in dropped:
            found = dropped[name]["rows_dropped"]["across_splits"]
            said = f"{found:,} rows that were in two splits were" if found else "no row had to be"
            yield Check(
                "good", f"{title}: no text or group of the test split is in the training split; "
                f"{said} taken out for that.",
            )  # fmt: skip
        near = track.near_duplicates
        if near:
            text = f"{title}: {near['rows']:,.0f} test rows ({near['share']:.1%}) have a "
            text += "near-duplicate in the training split"
            if "accuracy_without" in near:
                text += f"; without them accuracy is {near['accuracy_without']:.1%}"
            many = near["share"] > MANY_NEAR_DUPLICATES
            yield Check("mind" if many else "good", f"{text}.")
        yield from _validation(title, heads[name], track.train)
    yield from _training(params)
    yield Check(
        "mind",
        f"Every model was trained once, with seed {params.run.seed}. The intervals say how far a "
        "number would move with other test rows, not with another seed: scratchformer seeds 1 2 3 "
        "measures that.",
    )


def _validation(title: str, head: Headline, train: Mapping[str, float]) -> Iterator[Check]:
    """Choices were made on the validation split; its score must not be far from the test's. Beside
    them stands that on training rows, which says how much is known by heart."""
    key, measure = head.measure.key, head.measure
    if key not in head.own.valid or key not in head.own.intervals:
        return
    valid, test = head.own.valid[key], head.own.scores[key]
    low, high = head.own.intervals[key]
    text = (
        f"{title}: {measure.title} is {measure.text(valid)} on the validation split, on which all "
        f"choices were made, and {measure.text(test)} on the test split"
    )
    if key in train:
        text += f" ({measure.text(train[key])} on rows that it was trained on)"
    if measure.better(valid, high if measure.higher_is_better else low):
        yield Check("mind", f"{text}: the choices favour the validation split.")
    else:
        yield Check("good", f"{text}.")


def _training(params: Params) -> Iterator[Check]:
    skipped = params.train_scratch.skip_gates
    if skipped:
        names = ", ".join(skipped)
        yield Check("bad", f"From scratch: these checks before the training were skipped: {names}.")
    else:
        yield Check(
            "good",
            "From scratch: all checks before the training were green (the future is masked, every "
            "parameter learns, a few rows can be learned by heart, and so on).",
        )
    for track in TRACKS.values():
        path = HISTORY / track.name / "not_finite.csv"
        rows = len(pd.read_csv(path)) if path.is_file() else 0
        if rows:
            yield Check("mind", f"{track.title}: the loss of {rows:,} updates was not finite.")


def _facts(params: Params, metrics: Metrics) -> Iterator[tuple[str, str]]:
    for track in TRACKS:
        info = load_info(track)
        counts = ", ".join(f"{count:,} {split}" for split, count in info.counts.items())
        yield f"{track} track", f"{info.description} [{info.name}, {info.task}: {counts}]"
    pretrained = params.pretrained
    pinned = f" at {pretrained.revision}" if pretrained.revision else ""
    yield "pretrained model", f"{pretrained.name}{pinned}"
    yield "seed", f"{params.run.seed}; each model was trained once"
    for name, scores in metrics.tracks.items():
        yield f"{name} intervals", method(metrics, scores)
        for system in scores.systems.values():
            if "prompt" in system.notes:
                prompt = system.notes["prompt"]
                yield "zero-shot prompt", f"{prompt} (chosen on the validation split)"
