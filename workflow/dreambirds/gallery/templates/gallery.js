"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const at = (id) => document.getElementById(id);
const names = { runs: Object.keys(facts.runs), recipes: Object.keys(facts.recipes) };
const [epochSlider, stepSlider] = [at("epoch"), at("step")];
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const path = (...parts) => parts.map(encodeURIComponent).join("/");
const clamp = (value, high) => Math.min(Math.max(value, 0), high);

// Where the sliders stand is counted in kept checkpoints and kept steps; a fraction lies between two of them.
const state = { label: 0, epoch: 0, step: 0, view: "rescaled", panes: [{ run: names.runs[0], recipe: names.recipes[0] }] };
let playing = null;

const epochs = (pane) => facts.runs[pane.run].epochs;
const steps = (pane) => facts.recipes[pane.recipe].steps;

// The second pane shows what is nearest to the first one's epoch and step.
function nearest(values, wanted) {
  return values.reduce((best, value, place) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? place : best), 0);
}
function places(pane) {
  const first = state.panes[0];
  if (pane === first) return { epoch: state.epoch, step: state.step };
  return {
    epoch: nearest(epochs(pane), epochs(first)[Math.round(state.epoch)]),
    step: nearest(steps(pane), steps(first)[Math.round(state.step)]),
  };
}

function value(pane, measure, label, epoch, step) {
  const group = facts.values[`${pane.run}/${pane.recipe}`] || {};
  const column = group[measure + (state.view === "rescaled" ? "_rescaled" : "")] || group[measure];
  return column ? column[(label * epochs(pane).length + epoch) * steps(pane).length + step] : null;
}

const ending = () => (state.view === "rescaled" ? "-rescaled" : "");
function picture(pane, epoch, step) {
  const [run, recipe] = [facts.runs[pane.run], facts.recipes[pane.recipe]];
  const folder = path("pictures", "dreams", pane.run, run.folders[epoch], pane.recipe, facts.labels[state.label].label);
  return `${folder}/${recipe.files[step]}${ending()}.png`;
}

/* the panes */
function buildPane(pane) {
  const box = at("pane").content.firstElementChild.cloneNode(true);
  const find = (selector) => box.querySelector(selector);
  pane.box = box;
  pane.find = find;
  for (const [kind, options] of [["run", names.runs], ["recipe", names.recipes]]) {
    const select = find(`.${kind} select`);
    for (const name of options) select.add(new Option(name, name, false, name === pane[kind]));
    find(`.${kind}`).hidden = options.length < 2;
    select.addEventListener("change", () => {
      const kept = [epochs(state.panes[0])[Math.round(state.epoch)], steps(state.panes[0])[Math.round(state.step)]];
      pane[kind] = select.value;
      state.epoch = nearest(epochs(state.panes[0]), kept[0]);
      state.step = nearest(steps(state.panes[0]), kept[1]);
      show();
    });
  }
  swipe(find(".frame"));
  return box;
}

function showPane(pane) {
  const { epoch, step } = places(pane);
  const [run, recipe, label] = [facts.runs[pane.run], facts.recipes[pane.recipe], facts.labels[state.label]];
  const moving = epoch % 1 ? "epoch" : "step";
  const [low, high] = [{ epoch: Math.floor(epoch), step: Math.floor(step) }, { epoch: Math.ceil(epoch), step: Math.ceil(step) }];
  if (moving === "epoch") low.step = high.step = Math.round(step);
  const share = (moving === "epoch" ? epoch : step) % 1;
  const [e, s] = [Math.round(epoch), Math.round(step)];
  const said = `${label.name}, dreamt by ${pane.run} at epoch ${run.epochs[e]}, ${pane.recipe}, step ${recipe.steps[s]}, ${state.view}`;
  const [under, over] = [pane.find(".under"), pane.find(".over")];
  set(under, "src", picture(pane, low.epoch, low.step));
  set(over, "src", picture(pane, high.epoch, high.step));
  over.style.opacity = share;
  under.alt = said;
  under.style.aspectRatio = `${recipe.shape[1]} / ${recipe.shape[0]}`;
  const caption = pane.find("figcaption");
  caption.replaceChildren(Object.assign(document.createElement("b"), { textContent: label.name }), ` epoch ${run.epochs[e]} · step ${recipe.steps[s]}`);
  pane.find(".provenance").textContent =
    `${pane.run} (${run.model}), epoch ${run.epochs[e]}\n${pane.recipe}, step ${recipe.steps[s]}, seed ${recipe.seed}, ${state.view}\ncheckpoint ${run.checkpoints[e].slice(0, 16)}`;
  const file = picture(pane, e, s);
  Object.assign(pane.find(".picture"), { href: file, download: `${[pane.run, run.folders[e], pane.recipe, label.label, recipe.files[s]].join("_")}${ending()}.png` });
  linkYaml(pane, recipe);
  const real = pane.find(".real img");
  set(real, "src", path("pictures", "real", `${label.label}.png`));
  real.alt = `A real picture of ${label.name}`;
  const lines = measured(pane, e, s);
  chart(pane.find(".epochs"), run.epochs, epoch, "training epoch", lines.epochs);
  chart(pane.find(".steps"), recipe.steps, step, "dream step", lines.steps);
  legend(pane.find(".legend"), [...lines.epochs, ...lines.steps]);
  table(pane, e, s);
}

function set(element, key, text) {
  if (element.getAttribute(key) !== text) element.setAttribute(key, text);
}

function linkYaml(pane, recipe) {
  const link = pane.find(".yaml");
  if (link.dataset.recipe === pane.recipe) return;
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([recipe.yaml], { type: "application/yaml" }));
  link.download = `${pane.recipe}.yaml`;
  link.dataset.recipe = pane.recipe;
}

/* the curves */
function measured(pane, e, s) {
  const [run, recipe] = [facts.runs[pane.run], facts.recipes[pane.recipe]];
  const over = (measure) => ({
    epochs: run.epochs.map((_, place) => value(pane, measure, state.label, place, s)),
    steps: recipe.steps.map((_, place) => value(pane, measure, state.label, e, place)),
  });
  const [own, judge] = [over("own_probability"), over("judge_probability")];
  const line = (values, name, colour, dash) => ({ values, name, colour, dash });
  const both = (axis) => [line(own[axis], "the dreamer's own probability", "var(--second)"), line(judge[axis], "the judge's probability", "var(--accent)")];
  return {
    epochs: [...both("epochs"), line(run.validation, "validation accuracy of the run", "var(--faint)", "4 4")],
    steps: both("steps"),
  };
}

const SVG = "http://www.w3.org/2000/svg";
function draw(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return parent.appendChild(element);
}

function chart(box, xs, place, title, lines) {
  const [width, height, left, bottom] = [360, 120, 30, 34];
  const x = (number) => left + (xs.length > 1 ? (number / (xs.length - 1)) * (width - left - 12) : (width - left) / 2);
  const y = (share) => 8 + (1 - share) * (height - bottom - 8);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Probabilities against ${title}`);
  for (const share of [0, 0.5, 1]) {
    draw(svg, "path", { class: "axis", d: `M${left} ${y(share)}H${width - 12}` });
    draw(svg, "text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, share);
  }
  const every = Math.ceil(xs.length / 8);
  xs.forEach((number, spot) => {
    if (spot % every === 0 || spot === xs.length - 1) draw(svg, "text", { x: x(spot), y: height - bottom + 15, "text-anchor": "middle" }, number);
  });
  draw(svg, "text", { x: width - 12, y: height - 3, "text-anchor": "end" }, title);
  for (const { values, colour, dash } of lines) {
    const points = values.map((share, spot) => [x(spot), share]).filter(([, share]) => share !== null);
    if (!points.length) continue;
    draw(svg, "path", { d: "M" + points.map(([across, share]) => `${across} ${y(share)}`).join("L"), fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash || "none" });
    if (!dash) points.forEach(([across, share]) => draw(svg, "circle", { cx: across, cy: y(share), r: 2.5, fill: colour }));
  }
  draw(svg, "path", { class: "marker", d: `M${x(place)} 4V${height - bottom}` });
  box.replaceChildren(svg);
}

function legend(box, lines) {
  const shown = new Map(lines.filter(({ values }) => values.some((share) => share !== null)).map((line) => [line.name, line]));
  box.replaceChildren(...[...shown.values()].map(({ name, colour, dash }) => {
    const entry = document.createElement("span");
    const mark = document.createElement("i");
    mark.style.borderTopColor = colour;
    mark.style.borderTopStyle = dash ? "dashed" : "solid";
    entry.append(mark, name);
    return entry;
  }));
}

function table(pane, e, s) {
  const rows = [];
  for (const [measure, title] of Object.entries(facts.measures)) {
    const found = value(pane, measure, state.label, e, s);
    if (found === null || found === undefined || found === "") continue;
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: title });
    const named = facts.labels.find(({ label }) => label === found);
    row.append(head, Object.assign(document.createElement("td"), { textContent: named ? named.name : found }));
    rows.push(row);
  }
  pane.find("tbody").replaceChildren(...rows);
}

/* the grid of classes */
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.dataset.near = isIntersecting;
    if (isIntersecting) paint(target);
  }
}, { rootMargin: "200px" });

function buildGrid() {
  facts.labels.forEach(({ name }, place) => {
    const cell = document.createElement("div");
    Object.assign(cell, { className: "cell", id: `class-${place}` });
    cell.setAttribute("role", "option");
    cell.append(document.createElement("span"), name);
    cell.addEventListener("click", () => choose(place));
    at("grid").append(cell);
    watcher.observe(cell);
  });
}

function paint(cell) {
  const pane = state.panes[0];
  const [run, recipe, place] = [facts.runs[pane.run], facts.recipes[pane.recipe], Number(cell.id.slice(6))];
  const [part, row] = [Math.floor(place / facts.perSheet), place % facts.perSheet];
  const rows = Math.min(facts.perSheet, facts.labels.length - part * facts.perSheet);
  const [columns, column] = [recipe.steps.length, Math.round(state.step)];
  const sheet = path("sheets", pane.run, run.folders[Math.round(state.epoch)], pane.recipe, `${part}${ending()}.png`);
  const share = (number, count) => (count > 1 ? (100 * number) / (count - 1) : 0);
  const style = cell.firstElementChild.style;
  style.aspectRatio = `${recipe.cell[1]} / ${recipe.cell[0]}`;
  style.backgroundImage = `url("${sheet}")`;
  style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
  style.backgroundPosition = `${share(column, columns)}% ${share(row, rows)}%`;
}

function showGrid() {
  for (const [place, cell] of [...at("grid").children].entries()) {
    cell.setAttribute("aria-selected", place === state.label);
    if (cell.dataset.near === "true") paint(cell);
  }
  at("grid").setAttribute("aria-activedescendant", `class-${state.label}`);
}

function choose(place) {
  state.label = clamp(place, facts.labels.length - 1);
  show();
  at("said").textContent = facts.labels[state.label].name;
}

/* the view as a whole, and its link */
function show() {
  const first = state.panes[0];
  state.epoch = clamp(state.epoch, epochs(first).length - 1);
  state.step = clamp(state.step, steps(first).length - 1);
  for (const [slider, values, kind] of [[epochSlider, epochs(first), "epoch"], [stepSlider, steps(first), "step"]]) {
    const said = values[Math.round(state[kind])];
    slider.max = values.length - 1;
    slider.value = state[kind];
    slider.setAttribute("aria-valuetext", `${kind} ${said}`);
    at(`${kind}-said`).textContent = said;
    at(`${kind}-box`).hidden = values.length < 2;
  }
  document.querySelector(`[name=view][value=${state.view}]`).checked = true;
  at("panes").className = state.panes.length > 1 ? "two" : "";
  at("compare").setAttribute("aria-pressed", state.panes.length > 1);
  state.panes.forEach(showPane);
  showGrid();
  remember();
}

function remember() {
  const [first, second] = state.panes;
  const words = { run: first.run, recipe: first.recipe, label: facts.labels[state.label].label, epoch: epochs(first)[Math.round(state.epoch)], step: steps(first)[Math.round(state.step)], view: state.view };
  if (second) Object.assign(words, { run2: second.run, recipe2: second.recipe });
  const hash = `#${new URLSearchParams(words)}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  const known = (word, allowed, otherwise) => (allowed.includes(words.get(word)) ? words.get(word) : otherwise);
  const first = { run: known("run", names.runs, facts.best.run), recipe: known("recipe", names.recipes, facts.best.recipe) };
  const panes = [first];
  if (words.has("run2") || words.has("recipe2")) panes.push({ run: known("run2", names.runs, first.run), recipe: known("recipe2", names.recipes, first.recipe) });
  state.label = Math.max(0, facts.labels.findIndex(({ label }) => label === words.get("label")));
  state.view = known("view", ["raw", "rescaled"], "rescaled");
  const place = (word, values) => (words.has(word) ? nearest(values, Number(words.get(word))) : values.length - 1);
  state.epoch = place("epoch", epochs(first));
  state.step = place("step", steps(first));
  setPanes(panes);
}

function setPanes(panes) {
  state.panes = panes;
  at("panes").replaceChildren(...panes.map(buildPane));
  show();
}

function compare() {
  const [first] = state.panes;
  const other = (options, name) => options[(options.indexOf(name) + 1) % options.length];
  const second = names.recipes.length > 1 ? { run: first.run, recipe: other(names.recipes, first.recipe) } : { run: other(names.runs, first.run), recipe: first.recipe };
  setPanes(state.panes.length > 1 ? [first] : [first, second]);
}

/* moving */
function move(kind, by) {
  state[kind] = Math.round(state[kind]) + by;
  show();
}

for (const [slider, kind] of [[epochSlider, "epoch"], [stepSlider, "step"]]) {
  slider.addEventListener("input", () => {
    const other = kind === "epoch" ? "step" : "epoch";
    state[other] = Math.round(state[other]);
    state[kind] = calm ? Math.round(slider.value) : Number(slider.value);
    show();
  });
  slider.addEventListener("change", () => move(kind, 0));
}

function swipe(frame) {
  let from = null;
  frame.addEventListener("pointerdown", (event) => {
    from = { x: event.clientX, epoch: Math.round(state.epoch) };
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!from) return;
    const count = epochs(state.panes[0]).length - 1;
    state.epoch = clamp(from.epoch + ((event.clientX - from.x) / frame.clientWidth) * Math.max(count, 1), count);
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    frame.addEventListener(end, () => {
      if (from) move("epoch", 0);
      from = null;
    });
  }
}

function play() {
  if (playing) {
    cancelAnimationFrame(playing);
    playing = null;
    move("epoch", 0);
  } else {
    const last = epochs(state.panes[0]).length - 1;
    if (Math.round(state.epoch) === last) state.epoch = 0;
    let before = performance.now();
    const tick = (now) => {
      state.epoch = Math.min(last, state.epoch + (now - before) / 900);
      before = now;
      show();
      if (state.epoch < last) playing = requestAnimationFrame(tick);
      else play();
    };
    playing = requestAnimationFrame(tick);
  }
  at("play").setAttribute("aria-pressed", Boolean(playing));
  at("play").textContent = playing ? "Stop" : "Play";
}

const keys = {
  ArrowLeft: () => move("epoch", -1), ArrowRight: () => move("epoch", 1), ArrowUp: () => move("step", 1), ArrowDown: () => move("step", -1),
  ",": () => choose(state.label - 1), ".": () => choose(state.label + 1), c: compare, " ": play,
  r: () => { state.view = state.view === "raw" ? "rescaled" : "raw"; show(); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  const { target } = event;
  const arrow = event.key.startsWith("Arrow");
  if (target.matches("select, [type=radio]") || (target.matches("button, a") && event.key === " ")) return;
  if (target === at("grid") && arrow) {
    const wide = getComputedStyle(target).gridTemplateColumns.split(" ").length;
    choose(state.label + { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide, ArrowDown: wide }[event.key]);
  } else if (target === stepSlider && arrow) {
    move("step", event.key === "ArrowLeft" || event.key === "ArrowDown" ? -1 : 1);
  } else if (target === epochSlider && arrow) {
    move("epoch", event.key === "ArrowLeft" || event.key === "ArrowDown" ? -1 : 1);
  } else {
    keys[event.key]();
  }
  event.preventDefault();
});

for (const radio of document.querySelectorAll("[name=view]")) {
  radio.addEventListener("change", () => { state.view = radio.value; show(); });
}
at("compare").addEventListener("click", compare);
at("compare").hidden = names.runs.length * names.recipes.length < 2;
at("play").addEventListener("click", play);
at("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    at("said").textContent = at("copy").textContent = "Copied";
  } catch {
    prompt("The link to this view", location.href);
  }
  setTimeout(() => { at("copy").textContent = "Copy link"; }, 1500);
});
window.addEventListener("hashchange", recall);

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  at("theme").textContent = theme === "dark" ? "Light" : "Dark";
}
function storedTheme() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}
at("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", theme); } catch { /* a page from disk may not keep anything */ }
  setTheme(theme);
});
setTheme(storedTheme() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
buildGrid();
recall();
