// The page around the model: what is typed, what is shown, what is switched off.

"use strict";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const weights = unpack(data.shapes, data.weights);
for (const [name, home] of Object.entries(data.tied)) weights[name] = weights[home];
const model = new Model(data.config, weights);
const source = new Tokenizer(data.source, data.unknown);
const target = new Tokenizer(data.target, data.unknown);
const [longestSource, longestTarget] = data.limits;
const shown = { ids: [], steps: [], encoder: [], chosen: 0, partial: null };

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function sourceIds(text) {
  const ids = source.encode(text).slice(0, longestSource - 1);
  return [...ids, data.config.eos_id];
}

function shade(cell, weight) {
  cell.style.backgroundColor = `rgba(var(--mark), ${weight.toFixed(3)})`;
  cell.title = weight.toFixed(3);
  cell.setAttribute("aria-label", weight.toFixed(2));
}

function choose(scores) {
  if (byId("search").value !== "sample") return best(scores, 1)[0][0];
  const temperature = Math.max(Number(byId("temperature").value) || 1, 0.1);
  const chances = softmax(Array.from(scores, (score) => score / temperature));
  let rest = Math.random();
  return Math.max(chances.findIndex((chance) => (rest -= chance) < 0), 0);
}

function greedyText(ids) {
  return target.join(decode(model, ids, longestTarget, (s) => best(s, 1)[0][0])
    .steps.map((step) => step.token));
}

function run() {
  const text = byId("text").value;
  if (!text.trim()) return say("Type something first.");
  shown.ids = sourceIds(text);
  shown.partial = null;
  if (byId("search").value === "beam") {
    const size = Math.min(Math.max(Number(byId("beams").value) || 1, 1), 8);
    const { winners, tree } = beamSearch(model, shown.ids, size, longestTarget);
    let next = 0;
    const forced = winners[0].tokens;
    Object.assign(shown, decode(model, shown.ids, longestTarget, () => forced[next++]));
    drawTree(tree, winners[0].node);
    byId("beam").hidden = false;
  } else {
    byId("beam").hidden = true;
    Object.assign(shown, decode(model, shown.ids, longestTarget, choose));
  }
  shown.chosen = 0;
  draw();
}

function nextToken() {
  const text = byId("text").value;
  if (!text.trim()) return say("Type something first.");
  if (!shown.partial || shown.partial.text !== text) {
    const ids = sourceIds(text), { memory, maps } = model.encode(ids);
    shown.partial = { text, memory, state: model.start(), token: data.config.bos_id };
    Object.assign(shown, { ids, steps: [], encoder: maps });
    byId("beam").hidden = true;
  }
  const at = shown.partial;
  if (at.token === data.config.eos_id || shown.steps.length >= longestTarget) {
    return say("It has ended. Run, or change the source, to begin again.");
  }
  const made = model.step(at.memory, at.state, at.token);
  const scores = model.logProbabilities(made.logits);
  [at.token, at.state] = [choose(scores), made.state];
  shown.steps.push({ token: at.token, scores, cross: made.cross, decoder: made.decoder });
  shown.chosen = shown.steps.length - 1;
  draw();
}

const say = (text) => { byId("status").textContent = text; };

function draw() {
  const output = shown.steps.map((step) => step.token);
  byId("source").replaceChildren(...shown.ids.map((id) => element("li",
    { textContent: source.show(id), className: id === data.unknown ? "unknown" : "" })));
  byId("output").replaceChildren(...output.map((id, index) => element("li", {},
    element("button", {
      type: "button", textContent: target.show(id),
      ariaCurrent: index === shown.chosen ? "true" : "false",
      className: index === shown.chosen ? "chosen" : "",
      onclick: () => { shown.chosen = index; draw(); },
      onfocus: () => { if (shown.chosen !== index) { shown.chosen = index; drawDetails(); } },
    }))));
  say(output.length ? target.join(output) || "(nothing)" : "");
  const changed = model.off.size || !model.positionsOn;
  byId("compare").hidden = !changed;
  if (changed) {
    const [off, on] = [model.off, model.positionsOn];
    [model.off, model.positionsOn] = [new Set(), true];
    byId("compare").textContent = `With everything switched on: ${greedyText(shown.ids)}`;
    [model.off, model.positionsOn] = [off, on];
  }
  byId("details").hidden = !shown.steps.length;
  drawDetails();
}

// Rows of weights, and the labels of rows and columns, of what is selected.
function selectedMap() {
  const kind = byId("kind").value, layer = Number(byId("layer").value), head = byId("head").value;
  const mean = (heads) => heads[0].map((_, t) =>
    heads.reduce((sum, weights) => sum + weights[t], 0) / heads.length);
  const pick = (heads) => (head === "mean" ? mean(heads) : heads[Number(head)]);
  const read = shown.ids.map((id) => source.show(id));
  if (kind === "encoder") {
    const heads = shown.encoder[layer];
    const rows = shown.ids.map((_, q) => pick(heads.map((map) => map[q])));
    return { rows, from: read, to: read };
  }
  const from = shown.steps.map((step) => target.show(step.token));
  const rows = shown.steps.map((step) => pick(step[kind][layer]));
  const before = ["<s>", ...from].slice(0, rows.length);
  return { rows, from, to: kind === "cross" ? read : before };
}

function drawDetails() {
  if (!shown.steps.length) return;
  const { rows, from, to } = selectedMap(), marked = byId("kind").value !== "encoder";
  const head = element("tr", {}, element("th"), ...to.map((label) =>
    element("th", { textContent: label, scope: "col" })));
  byId("map").replaceChildren(head, ...rows.map((weights, index) => {
    const label = element("th", { textContent: from[index], scope: "row" });
    if (marked && index === shown.chosen) label.className = "chosen";
    const cells = to.map((_, t) => {
      const cell = element("td", { className: "cell" });
      shade(cell, weights[t] ?? 0);
      return cell;
    });
    return element("tr", {}, label, ...cells);
  }));
  const step = shown.steps[shown.chosen];
  byId("choices-title").textContent =
    `Token ${shown.chosen + 1}: the eight likeliest, with their probabilities.`;
  byId("choices").replaceChildren(...best(step.scores, 8).map(([id, score]) => {
    const chance = Math.exp(score), bar = element("span");
    bar.style.width = `${(100 * chance).toFixed(1)}%`;
    return element("tr", {}, element("th", { textContent: target.show(id), scope: "row" }),
      element("td", { className: "bar" }, bar),
      element("td", { textContent: `${(100 * chance).toFixed(1)} %` }));
  }));
}

function drawTree(tree, winner) {
  const wide = 92, high = 34, columns = [];
  for (const node of tree) (columns[node.place + 1] ??= []).push(node);
  const places = new Map();
  columns.forEach((nodes, x) => nodes.forEach((node, y) => places.set(node, [x, y])));
  const won = new Set();
  for (let at = winner; at; at = at.parent) won.add(at);
  const svg = (tag, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const height = high * Math.max(...columns.map((nodes) => nodes.length)) + 10;
  const picture = svg("svg", { viewBox: `0 0 ${wide * columns.length} ${height}`, role: "img",
    width: wide * columns.length, height, "aria-label": "The hypotheses of the beam" });
  for (const [node, [x, y]] of places) {
    if (!places.has(node.parent)) continue;
    const [px, py] = places.get(node.parent);
    const d = `M${px * wide + 40} ${py * high + 16}L${x * wide + 4} ${y * high + 16}`;
    picture.append(svg("path", won.has(node) ? { d, class: "won" } : { d }));
  }
  for (const [node, [x, y]] of places) {
    picture.append(svg("text", { x: x * wide + 6, y: y * high + 20 }, target.show(node.token)));
    const low = { x: x * wide + 6, y: y * high + 32, class: "low" };
    if (node.parent) picture.append(svg("text", low, node.score.toFixed(2)));
  }
  byId("tree").replaceChildren(picture);
}

function drawHeads() {
  const kinds = [["encoder", data.config.num_encoder_layers],
    ["decoder", data.config.num_decoder_layers], ["cross", data.config.num_decoder_layers]];
  const rows = kinds.flatMap(([kind, layers]) => Array.from({ length: layers }, (_, layer) =>
    element("tr", {}, element("th", { textContent: `${kind}, layer ${layer + 1}`, scope: "row" }),
      ...model.heads((head) => {
        const name = `${kind}.${layer}.${head}`;
        const button = element("button", { type: "button", textContent: `head ${head + 1}`,
          ariaPressed: String(!model.off.has(name)) });
        button.addEventListener("click", () => {
          if (!model.off.delete(name)) model.off.add(name);
          drawHeads();
          if (shown.ids.length) run();
        });
        return element("td", {}, button);
      }))));
  byId("heads").replaceChildren(...rows);
  byId("positions").ariaPressed = String(model.positionsOn);
}

function fillLayers() {
  const kind = byId("kind").value, { num_encoder_layers, num_decoder_layers } = data.config;
  const layers = kind === "encoder" ? num_encoder_layers : num_decoder_layers;
  byId("layer").replaceChildren(...Array.from({ length: layers }, (_, i) =>
    element("option", { value: i, textContent: i + 1 })));
  byId("layer").value = String(layers - 1);
}

byId("form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
byId("step").addEventListener("click", nextToken);
byId("search").addEventListener("change", () => {
  byId("temperature-label").hidden = byId("search").value !== "sample";
  byId("beams-label").hidden = byId("search").value !== "beam";
});
byId("kind").addEventListener("change", () => { fillLayers(); drawDetails(); });
for (const id of ["layer", "head"]) byId(id).addEventListener("change", drawDetails);
byId("positions").addEventListener("click", () => {
  model.positionsOn = !model.positionsOn;
  drawHeads();
  if (shown.ids.length) run();
});
byId("everything").addEventListener("click", () => {
  [model.off, model.positionsOn] = [new Set(), true];
  drawHeads();
  if (shown.ids.length) run();
});
byId("head").replaceChildren(
  element("option", { value: "mean", textContent: "mean of all" }),
  ...model.heads((h) => element("option", { value: h, textContent: h + 1 })));
byId("examples").replaceChildren(...data.examples.map((text) => element("button", {
  type: "button", textContent: text,
  onclick: () => { byId("text").value = text; run(); } })));
fillLayers();
drawHeads();
if (data.examples.length) { byId("text").value = data.examples[0]; run(); }
