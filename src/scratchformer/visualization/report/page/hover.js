"use strict";

// An element with properties, attributes (aria-…, for the rest) and children.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// A select under a label; `choices` are [value, text].
function choice(title, choices, changed) {
  const select = make("select");
  for (const [value, text] of choices) select.append(make("option", { value, textContent: text }));
  select.addEventListener("change", changed);
  return [make("label", {}, title, select), select];
}

// The values under the pointer, or at the place that the arrow keys have reached.
// panels: for each panel lines {name, points: [left, top, x, y]}, shares of the picture.
function hover(figure, panels) {
  const frame = figure.querySelector(".frame"), paper = figure.querySelector(".paper");
  const read = make("p", { className: "read soft", "aria-live": "polite" });
  read.textContent = "Point at the picture, or use ← and →, to read values.";
  frame.after(read);
  const marks = [];
  let panel = 0, place = 0;

  const longest = (lines) => lines.reduce((a, b) => (b.points.length > a.points.length ? b : a));
  const nearest = (points, left) =>
    points.reduce((best, point) => (Math.abs(point[0] - left) < Math.abs(best[0] - left) ? point : best));

  function show(left) {
    for (const mark of marks.splice(0)) mark.remove();
    const found = panels[panel].map((line) => [line.name, nearest(line.points, left)]);
    for (const [, [x, y]] of found) {
      const dot = make("div", { className: "dot" });
      dot.style.left = `${x * 100}%`;
      dot.style.top = `${y * 100}%`;
      marks.push(dot);
    }
    paper.append(...marks);
    read.textContent = found.map(([name, point]) => `${name}: ${point[3]} at ${point[2]}`).join("   ·   ");
  }

  paper.addEventListener("pointermove", (event) => {
    const box = paper.getBoundingClientRect();
    const left = (event.clientX - box.left) / box.width, top = (event.clientY - box.top) / box.height;
    const far = (lines) =>
      Math.min(...lines.flatMap((line) => line.points.map((p) => Math.hypot(p[0] - left, p[1] - top))));
    panel = panels.map(far).reduce((best, value, index, all) => (value < all[best] ? index : best), 0);
    const points = longest(panels[panel]).points;
    place = points.indexOf(nearest(points, left));
    show(left);
  });
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    place += step;
    const count = () => longest(panels[panel]).points.length;
    if (place >= count()) [panel, place] = [(panel + 1) % panels.length, 0];
    if (place < 0) {
      panel = (panel + panels.length - 1) % panels.length;
      place = count() - 1;
    }
    show(longest(panels[panel]).points[place][0]);
  });
}
