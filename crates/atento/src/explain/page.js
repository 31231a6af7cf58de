"use strict";
const stacks = JSON.parse(document.getElementById("data").textContent);
const part = (id) => document.getElementById(id);
const chosen = { stack: 0, layer: 0, head: 0 };
let pinned = null;

/* A head's weights: 16 bits each, the lower byte first. */
function weightsOf(head) {
  if (!head.decoded) {
    const bytes = Uint8Array.from(atob(head.weights), (c) => c.charCodeAt(0));
    head.decoded = Float32Array.from({ length: bytes.length / 2 }, (_, i) => (bytes[2 * i] + 256 * bytes[2 * i + 1]) / 65535);
  }
  return head.decoded;
}

function ink() {
  const probe = document.createElement("i");
  probe.style.color = "var(--one)";
  document.body.append(probe);
  const color = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return color;
}

/* One pixel a weight; the style makes pixels as large as cells. Of large maps a small drawing shows the largest of each block. */
function paint(canvas, weights, rows, columns, most) {
  const block = Math.max(1, Math.ceil(Math.max(rows, columns) / most));
  const width = Math.ceil(columns / block), height = Math.ceil(rows / block);
  const highest = new Float32Array(width * height);
  for (let i = 0; i < rows; i++) {
    const base = Math.floor(i / block) * width;
    for (let j = 0; j < columns; j++) {
      const at = base + Math.floor(j / block);
      highest[at] = Math.max(highest[at], weights[i * columns + j]);
    }
  }
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height), [r, g, b] = ink();
  highest.forEach((weight, at) => image.data.set([r, g, b, 255 * Math.sqrt(weight)], 4 * at));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function names(parent, tokens) {
  parent.replaceChildren(...tokens.map((token) => {
    const span = document.createElement("span");
    span.textContent = span.title = token;
    return span;
  }));
}

const current = () => {
  const stack = stacks[chosen.stack], layer = stack.layers[chosen.layer];
  return { stack, layer, head: layer.heads[chosen.head] };
};

function showHeads() {
  const { stack } = current(), grid = part("heads");
  const count = Math.max(...stack.layers.map((layer) => layer.heads.length));
  grid.style.setProperty("--count", count);
  const row = (label, cells, kind) => {
    const row = document.createElement("div"), name = document.createElement("span");
    row.className = "row " + kind;
    name.textContent = label;
    row.append(name, ...cells);
    return row;
  };
  const widest = stack.layers.find((layer) => layer.heads.length === count);
  const heading = row("", widest.heads.map((head) => {
    const name = document.createElement("span");
    name.textContent = head.number;
    return name;
  }), "names");
  grid.replaceChildren(heading, ...stack.layers.map((layer, l) => row("layer " + layer.number, layer.heads.map((head, h) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    button.type = "button";
    button.title = `layer ${layer.number}, head ${head.number}`;
    button.setAttribute("aria-label", button.title);
    button.dataset.layer = l;
    button.dataset.head = h;
    button.append(canvas);
    paint(canvas, weightsOf(head), stack.queries.length, stack.keys.length, 64);
    return button;
  }), "")));
}

function showHead() {
  const { stack, layer, head } = current();
  const rows = stack.queries.length, columns = stack.keys.length;
  names(part("keys"), stack.keys);
  names(part("queries"), stack.queries);
  const card = part("map").parentElement, style = getComputedStyle(card);
  const room = card.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - part("queries").offsetWidth;
  /* Cells as large as fit, within reason. */
  const most = Math.max(rows, columns), least = most <= 20 ? 20 : most <= 60 ? 18 : 14;
  const size = Math.max(least, Math.min(28, Math.floor(room / columns)));
  part("map").style.setProperty("--cell", size + "px");
  part("plot").style.width = size * columns + "px";
  part("plot").style.height = size * rows + "px";
  part("chosen").textContent = `${stack.name} · layer ${layer.number} · head ${head.number}`;
  part("about").textContent = stack.about;
  paint(part("canvas"), weightsOf(head), rows, columns, 8192);
  for (const button of part("heads").querySelectorAll("button")) {
    const is = +button.dataset.layer === chosen.layer && +button.dataset.head === chosen.head;
    button.setAttribute("aria-pressed", is);
  }
  for (const tab of document.querySelectorAll("[data-stack]")) tab.setAttribute("aria-selected", +tab.dataset.stack === chosen.stack);
  const row = pinned && pinned.row < rows ? pinned.row : rows - 1;
  point(row, pinned && pinned.column < columns ? pinned.column : null);
}

/* Tells the weight of a query and a key, or of a query alone the key that it looks at most. */
function point(row, column) {
  const { stack, head } = current(), weights = weightsOf(head), columns = stack.keys.length;
  const own = weights.subarray(row * columns, (row + 1) * columns);
  const most = own.reduce((best, weight, j) => (weight > own[best] ? j : best), 0);
  const key = column ?? most;
  part("queries").childNodes.forEach((span, i) => span.classList.toggle("on", i === row));
  part("keys").childNodes.forEach((span, j) => span.classList.toggle("on", j === key));
  const cell = part("cell"), size = parseFloat(part("plot").style.width) / columns;
  cell.style.display = "block";
  cell.style.left = key * size + "px";
  cell.style.top = row * size + "px";
  const text = (tag, words, kind) => {
    const element = document.createElement(tag);
    element.textContent = words;
    if (kind) element.className = kind;
    return element;
  };
  const tail = column === null || column === most ? " (the most)" : "";
  part("reading").replaceChildren(
    text("b", stack.queries[row]), text("span", " looks at ", "soft"), text("b", stack.keys[key]),
    text("span", " with ", "soft"), text("b", own[key].toFixed(4)), text("span", tail, "soft"));
  part("strip").replaceChildren(...stack.keys.map((token, j) => {
    const span = text("span", token.replaceAll("·", " "));
    span.title = `${token}: ${own[j].toFixed(4)}`;
    span.style.setProperty("--weight", Math.sqrt(own[j]));
    return span;
  }));
}

/* The query and the key below a pointer. */
function below(event) {
  const { stack } = current(), box = part("plot").getBoundingClientRect();
  const at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  return {
    row: at((event.clientY - box.top) / box.height, stack.queries.length),
    column: at((event.clientX - box.left) / box.width, stack.keys.length),
  };
}

/* The weight beside a mouse; a finger would hide it. */
function tip(event, row, column) {
  const { stack, head } = current(), box = part("tip");
  box.hidden = event.pointerType !== "mouse";
  const weight = weightsOf(head)[row * stack.keys.length + column];
  box.textContent = `${stack.queries[row]} → ${stack.keys[column]}  ${weight.toFixed(4)}`;
  box.style.left = Math.max(0, Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8)) + "px";
  box.style.top = (event.clientY + 44 > innerHeight ? event.clientY - 36 : event.clientY + 16) + "px";
}

part("plot").addEventListener("pointermove", (event) => {
  const { row, column } = below(event);
  point(row, column);
  tip(event, row, column);
});
part("plot").addEventListener("click", (event) => {
  pinned = below(event);
  point(pinned.row, pinned.column);
});
part("plot").addEventListener("pointerleave", () => {
  part("tip").hidden = true;
  if (pinned) point(pinned.row, pinned.column);
});
part("queries").addEventListener("click", (event) => {
  const row = [...part("queries").children].indexOf(event.target);
  if (row >= 0) {
    pinned = { row, column: null };
    point(row, null);
  }
});
part("heads").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) choose({ layer: +button.dataset.layer, head: +button.dataset.head });
});
for (const tab of document.querySelectorAll("[data-stack]")) {
  tab.addEventListener("click", () => {
    pinned = null;
    Object.assign(chosen, { stack: +tab.dataset.stack, layer: 0, head: 0 });
    show();
  });
}
part("heads").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!step) return;
  event.preventDefault();
  const { stack } = current(), within = (at, count) => Math.min(count - 1, Math.max(0, at));
  const layer = within(chosen.layer + step[0], stack.layers.length);
  choose({ layer, head: within(chosen.head + step[1], stack.layers[layer].heads.length) });
  part("heads").querySelector("[aria-pressed=true]").focus();
});

function choose(place) {
  Object.assign(chosen, place);
  showHead();
}

function show() {
  showHeads();
  showHead();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
show();
