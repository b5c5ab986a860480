"""The results as text: the tables of README.md and the last lines of the stage.

README holds what `render` gives for the committed reports/metrics.json between the two lines
`BEGIN` and `END`; `replace_block` puts it there (`scratchformer readme` calls it) and a test
compares both, so no number in README is typed by hand.
"""

from collections.abc import Iterator

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.layout import FINETUNED_MODEL, METRICS, TRACKS
from scratchformer.base.measures import MEASURES, Measure, shown
from scratchformer.evaluation.significance.paired_tests import p_value_text
from scratchformer.record.metrics import (
    Difference,
    Metrics,
    SystemScores,
    TrackScores,
    load_metrics,
)
from scratchformer.record.systems import SYSTEMS, in_reading_order, leaders

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def render(metrics: Metrics) -> str:
    """The tables of all tracks as Markdown, without a line break at the end."""
    parts = [_track(track, metrics) for track in metrics.tracks.values()]
    parts.append(
        f"In brackets: {metrics.confidence:.0%} bootstrap intervals (BCa, {metrics.resamples:,} "
        "resamples of whole groups); where there are none, resampling says nothing. They say how "
        "far a number would move with other test rows, not with another seed: every model was "
        "trained once. p-values: permutation of the two systems within groups, of the measure that "
        "stands beside them."
    )
    if any("temperature" in each.own.notes for each in metrics.tracks.values()):
        parts.append(
            "Loss and calibration error are those of probabilities whose temperature was fitted "
            "on the validation split, for every system alike."
        )
    return "\n\n".join(parts)


def replace_block(readme: str, metrics: Metrics) -> str:
    """The text of README.md with the tables of these metrics between its two marks.

    Raises:
        ParamsError: the marks are missing or out of order.
    """
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ParamsError(f"README.md: expected the lines {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n{render(metrics)}\n{END}{after}"


def card_with_results() -> str:
    """The model card that the training wrote, and what the test split said afterwards, if it has
    been asked. The card in models/finetuned itself stays as the training left it.

    Raises:
        DataError: there is no fine-tuned model.
    """
    path = FINETUNED_MODEL / "README.md"
    if not path.is_file():
        raise DataError(f"{path}: not found; `dvc repro finetune` makes it")
    card = path.read_text(encoding="utf-8")
    if not METRICS.is_file():
        return card
    metrics = load_metrics()
    only = Metrics(
        {"finetune": metrics.tracks["finetune"]}, metrics.confidence, metrics.resamples
    )
    return f"{card}\n## Scores on the test split\n\n{render(only)}\n"


def summary_rows(metrics: Metrics) -> list[tuple[str, str]]:
    """What the terminal shows at the end of the stage: each system's first two measures, and what
    fine-tuning changed in the first."""
    rows = []
    for track in metrics.tracks.values():
        for system in in_reading_order(track):
            cells = [f"{each.title} {_cell(each, system)}" for each in _columns(system)[:2]]
            rows.append((SYSTEMS[system.name].title, "  ".join(cells)))
        if "before" in track.differences:
            key, change = next(iter(track.differences["before"].items()))
            p_value = p_value_text(change.p_value, metrics.smallest_p)
            text = f"{_points(key, change)}, {p_value}"
            rows.append((f"after - before, {MEASURES[key].title}", text))
        rows += [
            (f"{track.name}: a control leads", lead + (" (by chance, perhaps)" if doubtful else ""))
            for lead, doubtful in _leads(track, metrics)
        ]
    return rows


def _columns(system: SystemScores) -> list[Measure]:
    return [measure for measure in shown(system.scores) if measure.in_table]


def _track(track: TrackScores, metrics: Metrics) -> str:
    columns = _columns(track.own)
    lines = [
        f"**{TRACKS[track.name].title}** ({track.rows:,} test rows in {track.groups:,} groups)",
        "",
        "| system | " + " | ".join(measure.title for measure in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for system in in_reading_order(track):
        cells = [_cell(each, system) if each.key in system.scores else "" for each in columns]
        name = SYSTEMS[system.name].title
        if system is track.own:
            name = f"**{name}**"
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", *(f"- {sentence}" for sentence in _sentences(track, metrics))]
    return "\n".join(lines).rstrip()


def _sentences(track: TrackScores, metrics: Metrics) -> Iterator[str]:
    if "before" in track.differences:
        changes = [
            f"{measure.title} {_points(measure.key, change)} ({p})"
            for measure, change, p in _tested(track, "before", metrics)
        ]
        yield f"After - before: {', '.join(changes)}."
    if track.train:
        known = [measure for measure in _columns(track.own)[:2] if measure.key in track.train]
        seen = [f"{measure.title} {measure.text(track.train[measure.key])}" for measure in known]
        yield f"The model on rows that it was trained on: {', '.join(seen)}."
    if track.mcnemar:
        yield f"McNemar's test: {p_value_text(track.mcnemar['p_value'])}."
    leads = list(_leads(track, metrics))
    if certain := [lead for lead, doubtful in leads if not doubtful]:
        yield f"**A control is better than the model: {'; '.join(certain)}.**"
    if perhaps := [lead for lead, doubtful in leads if doubtful]:
        yield f"A control is ahead of the model, by chance perhaps: {'; '.join(perhaps)}."
    if track.output == "sentences":
        yield "Scored as sentences: the targets are texts of several words."
    for system in track.systems.values():
        if "prompt" in system.notes:
            yield f"Zero-shot prompt, chosen on the validation split: `{system.notes['prompt']}`."
    for note in ("bleu_signature", "chrf_signature"):
        if note in track.own.notes:
            yield f"sacrebleu: `{track.own.notes[note]}`."


def _leads(track: TrackScores, metrics: Metrics) -> Iterator[tuple[str, bool]]:
    """Each measure of the table in which a control scores better than the model, and whether that
    may be chance (the test's p-value is above one minus the confidence).

    `letters by their context (IGTree) in phoneme error rate (model - control +0.4 points
    [+0.1, +0.7], p = 0.0020)`
    """
    for measure in _columns(track.own):
        for name in leaders(track, measure.key):
            lead = f"{SYSTEMS[name].title} in {measure.title}"
            change = track.differences.get(name, {}).get(measure.key)
            if change is None:
                yield lead, False
                continue
            p_value = p_value_text(change.p_value, metrics.smallest_p)
            points = _points(measure.key, change)
            doubtful = change.p_value > 1 - metrics.confidence
            yield f"{lead} (model - control {points}, {p_value})", doubtful


def _tested(
    track: TrackScores, other: str, metrics: Metrics
) -> Iterator[tuple[Measure, Difference, str]]:
    """The measures of the table with their difference to another system and its p-value."""
    for measure in _columns(track.own):
        if change := track.differences[other].get(measure.key):
            yield measure, change, p_value_text(change.p_value, metrics.smallest_p)


def _cell(measure: Measure, system: SystemScores) -> str:
    """`37.9 % [36.8, 39.1]`"""
    return measure.text_with_ends(system.scores[measure.key], *system.ends(measure.key))


def _points(measure: str, change: Difference) -> str:
    """`+29.7 points [+27.5, +31.9]`"""
    return MEASURES[measure].difference_text(change.value, change.low, change.high)
