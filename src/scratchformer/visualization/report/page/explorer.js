"use strict";

// All test rows of two systems: search, filter, sort.
function explorer(root, data) {
  const STEP = 25;
  const words = data.text.map((text) => text.split(/\s+/).length);
  const letters = words.every((count) => count === 1);
  const sizes = letters ? data.text.map((text) => text.length) : words;
  const order = [...sizes].sort((a, b) => a - b);
  const [low, high] = [order[Math.floor(order.length / 3)], order[Math.floor((2 * order.length) / 3)]];
  const unit = letters ? "letters" : "words";
  const [first, second] = data.sides;
  let most = STEP;

  const input = make("input", { type: "search" });
  input.addEventListener("input", restart);
  const [outcomeLabel, outcome] = choice("outcome",
    [["", "all"], ...data.outcomes.map((name, i) => [i, meaning(name)])], restart);
  const labels = data.labelled ? [...new Set(data.label)].sort((a, b) => a - b) : [];
  const [answerLabel, answer] = choice("true answer",
    [["", "all"], ...labels.map((i) => [i, data.answers[i]])], restart);
  const [lengthLabel, length] = choice(`length in ${unit}`,
    [["", "all"], ["0", `up to ${low}`], ["1", `${low + 1} to ${high}`], ["2", `above ${high}`]], restart);
  const [sortLabel, sort] = choice("sort by", [
    ["gain", "largest gain"], ["loss", "largest loss"], ["sure", `${second}: highest score`],
    ["unsure", `${second}: lowest score`], ["seen", "with attention first"], ["long", "longest"], ["text", "by text"],
  ], restart);
  const count = make("p", { className: "read soft", "aria-live": "polite" });
  const body = make("tbody");
  const head = ["outcome", "text", "true", first, second, `score, ${first}`, `score, ${second}`];
  const table = make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((name, i) =>
      make("th", { scope: "col", textContent: name, className: i > 4 ? "number" : "" })))), body);
  const more = make("button", { type: "button", textContent: `${STEP} more rows` });
  more.addEventListener("click", () => { most += STEP; show(); });
  const controls = make("div", { className: "controls" },
    make("label", {}, "search", input), outcomeLabel, ...(labels.length ? [answerLabel] : []),
    lengthLabel, sortLabel);
  const scroll = make("div", { className: "scroll", tabIndex: 0, role: "group", "aria-label": "rows" }, table);
  root.append(controls, count, scroll, more);

  function meaning(name) {
    return { fixed: `fixed: right only in ${second}`, broken: `broken: right only in ${first}` }[name] ?? name;
  }

  function restart() {
    most = STEP;
    show();
  }

  function show() {
    const asked = input.value.trim().toLowerCase();
    const keys = {
      gain: (i) => data.score_before[i] - data.score_after[i],
      loss: (i) => data.score_after[i] - data.score_before[i],
      sure: (i) => -data.score_after[i],
      unsure: (i) => data.score_after[i],
      seen: (i) => (i in data.links ? 0 : 1),
      long: (i) => -sizes[i],
    };
    const found = [...data.text.keys()].filter((i) =>
      (outcome.value === "" || data.outcome[i] === Number(outcome.value)) &&
      (answer.value === "" || data.label[i] === Number(answer.value)) &&
      (length.value === "" || [sizes[i] <= low, sizes[i] > low && sizes[i] <= high, sizes[i] > high][length.value]) &&
      (!asked || [data.text[i], ...["label", "before", "after"].map((c) => data.answers[data[c][i]])]
        .some((text) => text.toLowerCase().includes(asked))));
    const key = keys[sort.value];
    found.sort(key ? (a, b) => key(a) - key(b) || a - b
      : (a, b) => (data.text[a] < data.text[b] ? -1 : data.text[a] > data.text[b] ? 1 : a - b));
    body.replaceChildren(...found.slice(0, most).map(row));
    const some = data.text.length < data.total ? ` (${data.total.toLocaleString("en")} in all, those that moved most are here)` : "";
    count.textContent = `${found.length.toLocaleString("en")} of ${data.text.length.toLocaleString("en")} rows${some}`;
    more.hidden = found.length <= most;
  }

  function row(i) {
    const name = data.outcomes[data.outcome[i]];
    const cells = [data.text[i], ...["label", "before", "after"].map((c) => data.answers[data[c][i]])];
    const links = (data.links[i] ?? []).map(([id, title, example]) => {
      const link = make("a", { href: `#${id}`, textContent: title });
      if (example !== null) link.addEventListener("click", () => document.getElementById(id).pick(example));
      return link;
    });
    return make("tr", {},
      make("td", { className: `tag ${name.replace(" ", "-")}`, textContent: name }),
      ...cells.map((text, place) => {
        const cell = make("td", { textContent: text, dir: "auto" });
        if (place === 0) for (const link of links) cell.append(" ", link);
        return cell;
      }),
      ...["score_before", "score_after"].map((c) =>
        make("td", { className: "number", textContent: data[c][i].toFixed(2) })));
  }

  show();
}
