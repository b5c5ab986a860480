"use strict";

// Walk through attention: a text, a kind, a head, a token.
function atlas(root, data) {
  if (data.left_out.length) {
    const names = data.left_out.join("; ");
    root.append(make("p", { className: "missing", textContent: `Too large for this page: ${names}.` }));
  }
  if (!data.examples.length) return;
  let kind, weights, query = 0;

  const [exampleLabel, example] = choice("text", data.examples.map((e, i) => [i, e.title]), newExample);
  const [kindLabel, kindSelect] = choice("kind of attention", [], newKind);
  const [headLabel, head] = choice("head, sorted by what it does", [], draw);
  const controls = make("div", { className: "controls" }, exampleLabel, kindLabel, headLabel);
  const prompt = make("p", { className: "soft" });
  const queries = make("ul", { className: "tokens" });
  const said = make("p", { className: "read", "aria-live": "polite" });
  const sides = make("div", { className: "sides" });
  root.append(controls, prompt, queries, said, sides);

  function newExample() {
    const kinds = data.examples[example.value].kinds;
    kindSelect.replaceChildren(...kinds.map((k, i) => make("option", { value: i, textContent: k.title })));
    newKind();
  }

  function newKind() {
    kind = data.examples[example.value].kinds[kindSelect.value];
    weights = kind.sides.map((side) => Uint8Array.from(atob(side.maps), (c) => c.charCodeAt(0)));
    const options = kind.roles.map(([layer, number, name, share]) =>
      make("option", {
        value: `${layer},${number}`,
        textContent: `layer ${layer + 1}, head ${number + 1}: ${name} (${Math.round(share * 100)} %)`,
      }));
    for (let layer = 0; layer < kind.layers; layer++) {
      options.push(make("option", { value: `${layer},`, textContent: `layer ${layer + 1}, mean of its heads` }));
    }
    head.replaceChildren(...options);
    query = Math.min(1, kind.queries.length - 1);
    prompt.textContent = `Choose a ${kind.query_name}: the colours below it show what it reads.`;
    queries.replaceChildren(...kind.queries.map((token, index) => {
      const button = make("button", { type: "button", textContent: token });
      for (const event of ["click", "focus", "pointerenter"]) {
        button.addEventListener(event, () => { query = index; draw(); });
      }
      return make("li", {}, button);
    }));
    draw();
  }

  // The map of the chosen head of a side, [query][key], 0 to 1.
  function map(side) {
    const [layer, number] = head.value.split(",");
    const heads = number === "" ? [...Array(kind.heads).keys()] : [Number(number)];
    const rows = kind.queries.length, columns = kind.keys.length;
    const sum = new Float64Array(rows * columns);
    for (const h of heads) {
      const start = (Number(layer) * kind.heads + h) * rows * columns;
      for (let i = 0; i < sum.length; i++) sum[i] += weights[side][start + i] / 255 / heads.length;
    }
    return sum;
  }

  function draw() {
    const columns = kind.keys.length;
    queries.querySelectorAll("button").forEach((button, index) =>
      button.setAttribute("aria-pressed", String(index === query)));
    const maps = kind.sides.map((_, side) => map(side));
    const panels = kind.sides.map((side, index) => panel(side.name, maps[index], false));
    if (maps.length === 2) {
      panels.push(panel(`${kind.sides[1].name} minus ${kind.sides[0].name}`,
        maps[1].map((value, i) => value - maps[0][i]), true));
    }
    sides.replaceChildren(...panels);
    said.textContent = `“${kind.queries[query]}” reads  ` + kind.sides.map((side, index) => {
      const row = [...maps[index].slice(query * columns, (query + 1) * columns)];
      const top = row.map((value, i) => [value, i]).sort((a, b) => b[0] - a[0]).slice(0, 3);
      const list = top.map(([value, i]) => `${kind.keys[i]} ${Math.round(value * 100)} %`).join(", ");
      return kind.sides.length > 1 ? `${side.name}: ${list}` : list;
    }).join("   ·   ");
  }

  // One side: its keys coloured by the weights of the chosen query, and the whole map.
  function panel(name, values, signed) {
    const rows = kind.queries.length, columns = kind.keys.length;
    const style = getComputedStyle(document.documentElement);
    const mark = style.getPropertyValue("--mark").trim();
    const tokens = kind.keys.map((token, index) => {
      const value = values[query * columns + index];
      const box = make("span", { textContent: token, title: value.toFixed(2) });
      box.style.background = color(value, signed, mark, 0.55); // so that the text stays readable
      return make("li", {}, box);
    });
    const cell = Math.max(3, Math.min(22, Math.floor(340 / Math.max(rows, columns))));
    const canvas = make("canvas", { width: columns * cell, height: rows * cell, role: "img" });
    canvas.setAttribute("aria-label", `${name}: ${rows} ${kind.query_name}s by ${columns} ${kind.key_name}s`);
    const paint = canvas.getContext("2d");
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        paint.fillStyle = color(values[row * columns + column], signed, mark);
        paint.fillRect(column * cell, row * cell, cell, cell);
      }
    }
    paint.strokeStyle = style.getPropertyValue("--ink");
    paint.strokeRect(0.5, query * cell + 0.5, columns * cell - 1, cell - 1);
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
      if (row !== query && row >= 0 && row < rows) {
        query = row;
        draw();
      }
    });
    const pairs = [...Array(rows).keys()].map((row) => {
      const line = [...values.slice(row * columns, (row + 1) * columns)];
      return `${kind.queries[row]} ← ${kind.keys[line.indexOf(Math.max(...line))]}`;
    });
    const aligned = kind.aligns && !signed
      ? [make("p", { className: "read", textContent: `alignment: ${pairs.join("  ·  ")}` })] : [];
    const list = make("ul", { className: "tokens", "aria-label": `what is read, ${name}` }, ...tokens);
    return make("div", {}, make("h4", { textContent: name }), list, canvas, ...aligned);
  }

  function color(value, signed, mark, most = 1) {
    const strength = most * Math.min(1, Math.sqrt(Math.abs(value)));
    return `rgba(${signed && value < 0 ? "213, 94, 0" : mark}, ${strength.toFixed(3)})`;
  }

  // Rows of an explorer link here.
  root.pick = (index) => {
    example.value = index;
    newExample();
  };

  newExample();
}
