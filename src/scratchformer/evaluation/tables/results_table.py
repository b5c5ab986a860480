"""The results as text: the tables of README.md and the last lines of the stage.

README holds what `render` gives for the committed reports/metrics.json between the two lines
`BEGIN` and `END`; `replace_block` puts it there (`scratchformer readme` calls it) and a test
compares both, so no number in README is typed by hand.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import read_json
from scratchformer.base.layout import FINETUNED_MODEL, METRICS
from scratchformer.evaluation.systems.names import SYSTEM_NAMES, WITH_TRANSFORMER

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

Metrics = Mapping[str, Any]

_TITLES = {"scratch": "From scratch", "finetune": "Fine-tuning"}
# Name, and whether it is a share that reads best in percent; in the order of the columns.
_COLUMNS = {
    "wer": ("word error rate", True),
    "per": ("phoneme error rate", True),
    "cer": ("character error rate", True),
    "exact_match": ("exact match", True),
    "token_error_rate": ("token error rate", True),
    "bleu": ("BLEU", False),
    "chrf": ("chrF", False),
    "accuracy": ("accuracy", True),
    "macro_f1": ("macro-F1", True),
    "ece": ("calibration error", True),
    "perplexity": ("perplexity", False),
}


def render(metrics: Metrics) -> str:
    """The tables of all tracks as Markdown, without a line break at the end."""
    parts = [_track(track, metrics[track]) for track in _TITLES if track in metrics]
    method = metrics["method"]
    parts.append(
        f"In brackets: {method['confidence']:.0%} bootstrap intervals ({method['resamples']:,} "
        "resamples of whole groups). They say how far a number would move with other test rows, "
        "not with another seed: every model was trained once."
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
    metrics = read_json(METRICS)
    shown = {key: metrics[key] for key in ("finetune", "method")}
    return f"{card}\n## Scores on the test split\n\n{render(shown)}\n"


def summary_rows(metrics: Metrics) -> list[tuple[str, str]]:
    """What the terminal shows at the end of the stage: each system's first two metrics."""
    rows = []
    for track in _TITLES:
        for system, scores in _systems(track, metrics[track]):
            shown = [name for name in _COLUMNS if name in scores][:2]
            text = "  ".join(f"{_COLUMNS[name][0]} {_cell(name, scores)}" for name in shown)
            rows.append((SYSTEM_NAMES[system], text))
    finetune = metrics["finetune"]
    measure, change = next(iter(finetune["delta"].items()))
    name, _ = _COLUMNS[measure]
    rows.append((f"after - before, {name}", _points(change)))
    rows.append(("McNemar's test", _p_value(finetune["mcnemar"])))
    return rows


def _track(track: str, node: Metrics) -> str:
    systems = list(_systems(track, node))
    own = systems[-1][1]
    names = [name for name in _COLUMNS if name in own]
    if "wer" in names:
        names.remove("exact_match")  # the word error rate says the same
    lines = [
        f"**{_TITLES[track]}** ({node['n']:,} test rows in {node['groups']:,} groups)",
        "",
        "| system | " + " | ".join(_COLUMNS[name][0] for name in names) + " |",
        "|---|" + "---:|" * len(names),
    ]
    for system, scores in systems:
        cells = [_cell(name, scores) if name in scores else "" for name in names]
        name = SYSTEM_NAMES[system]
        if scores is own:
            name = f"**{name}**"
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", *_sentences(node)]
    return "\n".join(lines).rstrip()


def _systems(track: str, node: Metrics) -> Iterator[tuple[str, Metrics]]:
    """From the weakest claim to the model: controls, before, probe, after."""
    baselines = node.get("baselines", {})
    simple = baselines.keys() - WITH_TRANSFORMER
    yield from ((name, scores) for name, scores in baselines.items() if name in simple)
    if track == "scratch":
        yield "scratch", node
        return
    yield "before", node["before"]
    yield from ((name, baselines[name]) for name in WITH_TRANSFORMER if name in baselines)
    yield "after", node["after"]


def _sentences(node: Metrics) -> Iterator[str]:
    if "delta" in node:
        changes = ", ".join(
            f"{_COLUMNS[name][0]} {_points(change)}" for name, change in node["delta"].items()
        )
        yield (
            f"After - before: {changes}; McNemar's test {_p_value(node['mcnemar'])}, permutation "
            f"of groups {_p_value(node['permutation'])}."
        )
    if "prompt" in node:
        yield f"Zero-shot prompt, chosen on the validation split: `{node['prompt']}`."
    for name in ("bleu_signature", "chrf_signature"):
        signed = node.get("after", node)
        if name in signed:
            yield f"sacrebleu: `{signed[name]}`."


def _cell(name: str, scores: Metrics) -> str:
    """"37.9 % [36.8, 39.1]" """
    percent = _COLUMNS[name][1]
    factor, unit, digits = (100, " %", 1) if percent else (1, "", 2)
    text = f"{scores[name] * factor:.{digits}f}{unit}"
    ends = scores.get("intervals", {}).get(name)
    if not ends:
        return text
    return f"{text} [{ends['low'] * factor:.{digits}f}, {ends['high'] * factor:.{digits}f}]"


def _points(change: Metrics) -> str:
    """"+29.7 points [27.5, 31.9]" """
    value, low, high = (100 * change[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _p_value(test: Metrics) -> str:
    p = test["p_value"]
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}"
