"""The page in a browser: its programs run, ask for nothing, and show what they are given."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.visualization.report.test_report import EVIL, explorer, write

from scratchformer.visualization.analysis.inspection.attention import Attention
from scratchformer.visualization.html import csp_hash, read_files
from scratchformer.visualization.report import page as page_folder
from scratchformer.visualization.report.page.items import (
    Atlas,
    AtlasExample,
    Item,
    Missing,
    Picture,
    Table,
)

Browse = Callable[[str], str]
Change = Callable[[str], str]
WATCH = """
window.problems = [];
addEventListener("error", (event) => problems.push(event.message));
addEventListener("securitypolicyviolation", (event) => problems.push(event.violatedDirective));
"""


def curve() -> Picture:
    figure = Figure(figsize=(4, 3))
    axes = figure.add_subplot(xlabel="updates")
    axes.plot([0, 10, 20], [3, 2, 1], label="training")
    axes.plot([0, 20], [4, 2], label="validation")
    return Picture("curve", "Curve", "How to read it.", figure)


def small_atlas() -> Atlas:
    tokens = ["a", EVIL, "c"]
    previous, itself = np.eye(3, k=-1, dtype=np.float32), np.eye(3, dtype=np.float32)
    previous[0, 0] = 1
    before = Attention(np.stack([previous, itself])[None], tokens, tokens, "token", "token")
    after = Attention(np.stack([itself, previous])[None], tokens, tokens, "token", "token")
    example = AtlasExample("example", {"Encoder": {"before": before, "after": after}})
    return Atlas("atlas", "Atlas", "How.", [example])


@pytest.fixture
def ask(browse: Browse, tmp_path: Path) -> Callable[[list[Item], str], Any]:
    """Open a page with these items and run a program in it; gives what the program returns."""

    def run(items: list[Item], program: str, change: Change = lambda html: html) -> Any:
        html = change(write(tmp_path, items)[2])
        script = f"""document.getElementById("result").textContent = JSON.stringify((() => {{
            const $ = (selector) => document.querySelector(selector);
            const all = (selector) => [...document.querySelectorAll(selector)];
            const set = (element, value, event = "change") => {{
              element.value = value;
              element.dispatchEvent(new Event(event));
            }};
            {program}
        }})());"""
        allowed = f"script-src {csp_hash(WATCH)} {csp_hash(script)} "
        html = html.replace("script-src ", allowed, 1)
        html = html.replace("<head>", "<head>", 1).replace(
            '<meta name="viewport"', f'<script>{WATCH}</script><meta name="viewport"', 1
        )
        end = f'<pre id="result"></pre><script>{script}</script></body>'
        return json.loads(browse(html.replace("</body>", end)))

    return run


def test_the_programs_run_without_an_error_and_without_a_request(
    ask: Callable[[list[Item], str], Any],
) -> None:
    found = ask([curve(), small_atlas(), explorer()], """
        const asked = performance.getEntriesByType("resource").map((entry) => entry.name);
        return { problems, asked: asked.filter((name) => !name.startsWith("data:")),
                 parts: all(".controls, .read").length };""")
    assert found["problems"] == [] and found["asked"] == []
    assert found["parts"] == 5  # controls and lines of atlas and explorer, and of the picture


def test_what_the_policy_does_not_know_does_not_run(
    ask: Callable[[list[Item], str], Any],
) -> None:
    """The test above would see a violation: here is one."""
    found = ask([], """
        const other = document.createElement("script");
        other.textContent = "window.ran = true";
        document.body.append(other);
        return { ran: window.ran === true };""")
    assert found == {"ran": False}


def test_an_atlas_is_walked_through_by_head_and_token(
    ask: Callable[[list[Item], str], Any],
) -> None:
    found = ask([small_atlas()], """
        const [, , head] = all("#atlas select");
        const heads = [...head.options].map((option) => option.textContent);
        const said = () => $("#atlas .read").textContent;
        const first = said();
        all("#atlas .tokens")[0].querySelectorAll("button")[2].focus();
        const third = said();
        set(head, "0,");
        const mean = said();
        const pressed = all("#atlas [aria-pressed=true]").map((button) => button.textContent);
        const panels = all("#atlas h4").map((title) => title.textContent);
        return { heads, first, third, mean, pressed, panels, canvases: all("canvas").length };""")
    assert found["heads"] == [
        "layer 1, head 2: previous token (67 %)", "layer 1, head 1: token itself (100 %)",
        "layer 1, mean of its heads",
    ]  # fmt: skip
    label = EVIL[:23] + "…"
    assert found["first"].startswith(f"“{label}” reads  before: {label} 100 %")
    assert "after: a 100 %" in found["first"]
    assert found["third"].startswith("“c” reads  before: c 100 %")
    assert f"after: {label} 100 %" in found["third"]
    assert "before: " in found["mean"] and "c 50 %" in found["mean"]
    assert found["pressed"] == ["c"]
    assert found["panels"] == ["before", "after", "after minus before"] and found["canvases"] == 3


def test_a_row_leads_to_its_attention(ask: Callable[[list[Item], str], Any]) -> None:
    both = explorer(60)
    shown = both.rows["text"].iloc[40]
    walk = small_atlas()
    examples = [walk.examples[0], replace(walk.examples[0], title="that row", row=shown)]
    items = [replace(walk, name="x-atlas", examples=examples), replace(both, name="x-explorer")]
    found = ask(items, """
        set(all("#x-explorer select")[3], "seen");
        const link = $("#x-explorer tbody a");
        link.click();
        return { text: link.parentElement.textContent, href: link.getAttribute("href"),
                 links: all("#x-explorer tbody a").length,
                 chosen: $("#x-atlas select").selectedOptions[0].textContent };""")
    assert found["text"] == f"{shown} attention" and found["href"] == "#x-atlas"
    assert found["chosen"] == "that row" and found["links"] == 1


def test_an_explorer_searches_filters_and_sorts(ask: Callable[[list[Item], str], Any]) -> None:
    found = ask([explorer(60)], """
        const [outcome, answer, length, sort] = all("#explorer select");
        const input = $("#explorer input");
        const state = () => [$("#explorer .read").textContent, all("#explorer tbody tr").length,
          $("#explorer tbody tr")?.children[1].textContent ?? null];
        const whole = state();
        $("#explorer > button").click();
        const more = state()[1];
        set(outcome, "1");
        const broken = state();
        set(sort, "text");
        const byText = state();
        set(input, "nowhere", "input");
        const none = state();
        return { whole, more, broken, byText, none, tags: all("#explorer script").length };""")
    assert found["whole"][:2] == ["60 of 60 rows", 25]
    assert found["more"] == 50
    assert found["broken"][:2] == ["15 of 60 rows", 15]
    assert found["byText"][2] == f"{EVIL} 1"
    assert found["none"] == ["0 of 60 rows", 0, None]
    assert found["tags"] == 0  # markup in a row is text


def test_values_of_a_curve_by_pointer_and_by_keyboard(
    ask: Callable[[list[Item], str], Any],
) -> None:
    found = ask([curve()], """
        const frame = $("#curve .frame"), paper = $("#curve .paper");
        const said = () => $("#curve .read").textContent;
        const box = paper.getBoundingClientRect();
        const [left, top] = JSON.parse($("#data").textContent).curve[0][0].points[1];
        paper.dispatchEvent(new PointerEvent("pointermove",
          { clientX: box.left + left * box.width, clientY: box.top + top * box.height }));
        const pointed = said();
        frame.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
        return { pointed, moved: said(), dots: all(".dot").length, reachable: frame.tabIndex };""")
    assert found["pointed"].startswith("training: 2 at 10")
    assert found["moved"] == "training: 1 at 20   ·   validation: 2 at 20"
    assert (found["dots"], found["reachable"]) == (2, 0)


def without_program(html: str) -> str:
    """What a browser shows that runs no JavaScript."""
    html, found = re.subn(r"(?s)<script>(?:(?!<script).)*</script>\s*</body>", "</body>", html)
    assert found == 1
    return html.replace("<noscript>", "<div>").replace("</noscript>", "</div>")


def on_paper(html: str) -> str:
    """The rules for print hold on the screen too; the policy knows them."""
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.S)
    assert style.count("@media print") == 1
    printed = style.replace("@media print", "@media all")
    old, new = (csp_hash(each).strip("'") for each in (style, printed))
    assert html.count(old) == 1
    return html.replace(style, printed).replace(old, new)


@pytest.mark.parametrize("change", [without_program, on_paper])
def test_without_a_program_and_on_paper_everything_to_read_is_there(
    ask: Callable[..., Any], change: Change
) -> None:
    wide = Table("Wide", "How to read.", [f"column {n}" for n in range(30)], [["cell"] * 30], [])
    found = ask([curve(), wide, small_atlas(), explorer(), Missing("Lost", "No reason.")], """
        const seen = (selector) => all(selector).map((each) => each.checkVisibility());
        const cut = all(".scroll, .frame").filter((each) => each.checkVisibility()).filter((each) =>
          getComputedStyle(each).overflowX === "hidden" || each.clientHeight < 10);
        const words = "h1, .answer h2, .verdict, .trust li, .numbers dd, figcaption, .facts dd";
        return { texts: seen(words),
                 cells: seen("main > section > .scroll td"), missing: seen(".missing"),
                 pictures: all("img").map((each) => each.checkVisibility() && each.naturalWidth),
                 tools: seen(".controls, .read, .tokens, nav"), cut: cut.length,
                 spill: getComputedStyle($("main .scroll")).overflowX,
                 dark: getComputedStyle(document.body).backgroundColor };""", change)  # fmt: skip
    assert len(found["texts"]) >= 8 and all(found["texts"])
    assert found["cells"] == [True] * 30 and found["cut"] == 0
    assert all(width > 100 for width in found["pictures"]) and found["pictures"]
    if change is without_program:  # it scrolls, and tells what is not there
        assert found["missing"] == [True] * 3 and found["tools"] == [True]  # the contents
        assert found["spill"] == "auto"
    else:  # black on white in full width, without what only a screen can do
        assert found["missing"] == [True] and not any(found["tools"])
        assert (found["spill"], found["dark"]) == ("visible", "rgb(255, 255, 255)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(scheme: str) -> None:
    """WCAG 2.1: at least 4.5 to 1 for text; on the page and on tinted boxes."""
    style = read_files(page_folder.__name__, "page.css")
    light, dark = re.findall(r":root \{(.*?)\}", style, re.S)[:2]
    rules = light if scheme == "light" else light + dark
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", rules))
    for ink in ("ink", "soft", "link", "good", "mind", "bad"):
        for paper in ("paper", "tint"):
            assert contrast(colors[ink], colors[paper]) >= 4.5, (ink, paper)


def contrast(one: str, other: str) -> float:
    """Ratio of the two relative luminances."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)
