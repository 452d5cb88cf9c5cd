"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const byId = (id) => document.getElementById(id);
const names = { runs: Object.keys(facts.runs), recipes: Object.keys(facts.recipes) };
const [epochSlider, stepSlider] = [byId("epoch"), byId("step")];
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
const path = (...parts) => parts.map(encodeURIComponent).join("/");
const clamp = (value, high) => Math.min(Math.max(value, 0), high);

// epoch and step are slider positions: indices of checkpoints and steps; a fraction is between two of them.
const state = { label: 0, epoch: 0, step: 0, view: "rescaled", panes: [] };
let playing = null;

// The checkpoints of a run that have dreams of a recipe, by "run/recipe".
const pairs = {};
for (const [name, indices] of Object.entries(facts.dreamers)) {
  const run = facts.runs[name.split("/")[0]];
  const columns = ["epochs", "folders", "validation", "checkpoints"];
  pairs[name] = Object.fromEntries(columns.map((key) => [key, indices.map((index) => run[key][index])]));
}
const checkpointsOf = ({ run, recipe }) => pairs[`${run}/${recipe}`];
const recipesOf = (run) => names.recipes.filter((recipe) => checkpointsOf({ run, recipe }));
const epochs = (pane) => checkpointsOf(pane).epochs;
const steps = (pane) => facts.recipes[pane.recipe].steps;

function nearest(values, target) {
  const distance = (index) => Math.abs(values[index] - target);
  return values.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
}

// The second pane follows the first; if it has other epochs or steps, it shows the nearest one.
function follow(values, first, position) {
  const same = values.length === first.length && values.every((value, index) => value === first[index]);
  return same ? position : nearest(values, first[Math.round(position)]);
}
function positions(pane) {
  const [first] = state.panes;
  return {
    epoch: follow(epochs(pane), epochs(first), state.epoch),
    step: follow(steps(pane), steps(first), state.step),
  };
}

function value(pane, measure, label, epoch, step) {
  const group = facts.values[`${pane.run}/${pane.recipe}`] || {};
  const column = group[measure + (state.view === "rescaled" ? "_rescaled" : "")] || group[measure];
  return column ? column[(label * epochs(pane).length + epoch) * steps(pane).length + step] : null;
}

const ending = () => (state.view === "rescaled" ? "-rescaled" : "");
function imagePath(pane, epoch, step) {
  const [label, kept] = [facts.labels[state.label].label, checkpointsOf(pane).folders[epoch]];
  const folder = path("pictures", "dreams", pane.run, kept, pane.recipe, label);
  return `${folder}/${facts.recipes[pane.recipe].files[step]}${ending()}.png`;
}

/* the panes */
function buildPane(pane) {
  const box = byId("pane").content.firstElementChild.cloneNode(true);
  const find = (selector) => box.querySelector(selector);
  pane.box = box;
  pane.find = find;
  buildMenus(pane);
  swipe(find(".frame"));
  find(".download").addEventListener("click", saveImage);
  return box;
}

// Show another run or recipe in a pane, at the nearest epoch and step.
function change(pane, { run, recipe }) {
  settle();
  const kept = [epochs(state.panes[0])[Math.round(state.epoch)], steps(state.panes[0])[Math.round(state.step)]];
  Object.assign(pane, { run, recipe });
  updateMenus(pane);
  state.epoch = nearest(epochs(state.panes[0]), kept[0]);
  state.step = nearest(steps(state.panes[0]), kept[1]);
  show();
}

function showPane(pane) {
  const { epoch, step } = positions(pane);
  const [kept, recipe, label] = [checkpointsOf(pane), facts.recipes[pane.recipe], facts.labels[state.label]];
  const moving = epoch % 1 ? "epoch" : "step";
  const [low, high] = [Math.floor, Math.ceil].map((round) => ({ epoch: round(epoch), step: round(step) }));
  if (moving === "epoch") low.step = high.step = Math.round(step);
  const share = (moving === "epoch" ? epoch : step) % 1;
  const [e, s] = [Math.round(epoch), Math.round(step)];
  const position = `epoch ${kept.epochs[e]} · step ${recipe.steps[s]}`;
  const [under, over] = [pane.find(".under"), pane.find(".over")];
  set(under, "src", imagePath(pane, low.epoch, low.step));
  set(over, "src", imagePath(pane, high.epoch, high.step));
  over.style.opacity = share;
  under.alt = `Dream of ${label.name}: run ${pane.run}, recipe ${pane.recipe}, ${position}, ${state.view} view`;
  under.style.aspectRatio = `${recipe.shape[1]} / ${recipe.shape[0]}`;
  const caption = pane.find("figcaption");
  caption.replaceChildren(Object.assign(document.createElement("b"), { textContent: label.name, dir: "auto" }), ` ${position}`);
  if (pane.hasTries && value(pane, "picked", state.label, e, s) === 1) caption.append(pickedMark());
  pane.find(".provenance").textContent = [
    `run ${pane.run} (${facts.runs[pane.run].model}), epoch ${kept.epochs[e]}`,
    `recipe ${pane.recipe}, step ${recipe.steps[s]}, dream seed ${recipe.seed}, ${state.view} view`,
    `checkpoint ${kept.checkpoints[e].slice(0, 16)}`,
  ].join("\n");
  const file = [pane.run, kept.folders[e], pane.recipe, label.label, recipe.files[s]].join("_");
  Object.assign(pane.find(".download"), { href: imagePath(pane, e, s), download: `${file}${ending()}.png` });
  linkYaml(pane, recipe);
  if (facts.photographs) showPhotographs(pane, label, kept.folders[e], kept.epochs[e]);
  const lines = chartLines(pane, e, s);
  chart(pane.find(".epochs"), kept.epochs, epoch, "training epoch", lines.epochs, lines.range, lines.name);
  chart(pane.find(".steps"), recipe.steps, step, "dream step", lines.steps, lines.range, lines.name);
  legend(pane.find(".legend"), [...lines.epochs, ...lines.steps]);
  table(pane, e, s);
  preload(pane, e, s);
}

// An image of the class, or the photographs that excite another target most. An interpolation of classes has neither.
function showPhotographs(pane, { label, name }, folder, epoch) {
  const [image, source] = [pane.find(".real img"), pane.find(".source")];
  const exciting = (facts.exciting[`${pane.run}/${folder}`] || {})[label];
  const isClass = !facts.targets.includes(label);
  image.hidden = source.hidden = !(exciting || isClass);
  if (image.hidden) return;
  image.classList.toggle("exciting", !isClass);
  source.textContent = isClass ? "dataset image" : "photographs that excite it most";
  if (isClass) {
    set(image, "src", path("pictures", "real", `${label}.png`));
    image.alt = `Dataset image of ${name}`;
  } else {
    const classes = exciting.map((index) => facts.classNames[index]).join(", ");
    set(image, "src", path("pictures", "exciting", pane.run, folder, `${label}.png`));
    image.alt = `Photographs that excite ${name} most: run ${pane.run}, epoch ${epoch}; ${classes}`;
  }
}

// Load the images at the next slider positions in advance, so that they appear without flicker.
const preloaded = new Map();
function preload(pane, e, s) {
  for (const by of [-2, -1, 1, 2]) {
    for (const [epoch, step] of [[e + by, s], [e, s + by]]) {
      if (!(epoch in epochs(pane) && step in steps(pane))) continue;
      const address = imagePath(pane, epoch, step);
      if (!preloaded.has(address)) preloaded.set(address, Object.assign(new Image(), { src: address }));
    }
  }
  for (const address of [...preloaded.keys()].slice(0, -200)) preloaded.delete(address);
}

function set(element, key, text) {
  if (element.getAttribute(key) !== text) element.setAttribute(key, text);
}

/* the grid of classes and other targets */
const cells = []; // in the order of the labels; a search may show others first
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.dataset.near = isIntersecting;
    if (isIntersecting) paint(target);
  }
}, { rootMargin: "200px" });

function buildGrid() {
  facts.labels.forEach(({ name }, index) => {
    const cell = document.createElement("div");
    Object.assign(cell, { className: "cell", id: `class-${index}`, dir: "auto" });
    cell.setAttribute("role", "option");
    cell.append(document.createElement("span"), name);
    cell.addEventListener("click", () => choose(index));
    byId("grid").append(cell);
    cells.push(cell);
    watcher.observe(cell);
  });
}

function paint(cell) {
  const pane = state.panes[0];
  const [kept, recipe, label] = [checkpointsOf(pane), facts.recipes[pane.recipe], Number(cell.id.slice(6))];
  const [part, row] = [Math.floor(label / facts.perSheet), label % facts.perSheet];
  const rows = Math.min(facts.perSheet, facts.labels.length - part * facts.perSheet);
  const [columns, column] = [recipe.steps.length, Math.round(state.step)];
  const sheet = path("sheets", pane.run, kept.folders[Math.round(state.epoch)], pane.recipe, `${part}${ending()}.png`);
  const share = (number, count) => (count > 1 ? (100 * number) / (count - 1) : 0);
  const style = cell.firstElementChild.style;
  style.aspectRatio = `${recipe.cell[1]} / ${recipe.cell[0]}`;
  style.backgroundImage = `url("${sheet}")`;
  style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
  style.backgroundPosition = `${share(column, columns)}% ${share(row, rows)}%`;
}

let gridState = "";
function showGrid() {
  const [{ run, recipe }] = state.panes;
  const now = [run, recipe, Math.round(state.epoch), Math.round(state.step), state.view, state.label].join("/");
  if (now === gridState) return;
  gridState = now;
  for (const [index, cell] of cells.entries()) {
    cell.setAttribute("aria-selected", index === state.label);
    if (cell.dataset.near === "true") paint(cell);
  }
  byId("grid").setAttribute("aria-activedescendant", `class-${state.label}`);
}

function choose(index) {
  state.label = clamp(index, facts.labels.length - 1);
  show();
  if (document.activeElement === byId("grid")) byId(`class-${state.label}`).scrollIntoView({ block: "nearest" });
  byId("announcement").textContent = facts.labels[state.label].name;
}

/* the state of the page, and its link */
function show() {
  const first = state.panes[0];
  state.epoch = clamp(state.epoch, epochs(first).length - 1);
  state.step = clamp(state.step, steps(first).length - 1);
  for (const [slider, values, kind] of [[epochSlider, epochs(first), "epoch"], [stepSlider, steps(first), "step"]]) {
    const current = values[Math.round(state[kind])];
    slider.max = values.length - 1;
    slider.value = state[kind];
    slider.setAttribute("aria-valuetext", `${kind} ${current}`);
    byId(`${kind}-value`).textContent = current;
    byId(`${kind}-box`).hidden = values.length < 2;
  }
  document.querySelector(`[name=view][value=${state.view}]`).checked = true;
  byId("panes").className = state.panes.length > 1 ? "two" : "";
  byId("compare").setAttribute("aria-pressed", state.panes.length > 1);
  state.panes.forEach(showPane);
  showGrid();
  scheduleLink();
}

// Browsers limit how often a page may change its address, so update the link only when the sliders have stopped.
let linkTimer = null;
function scheduleLink() {
  clearTimeout(linkTimer);
  linkTimer = setTimeout(writeLink, 150);
}

function writeLink() {
  const [first, second] = state.panes;
  const parameters = {
    run: first.run,
    recipe: first.recipe,
    label: facts.labels[state.label].label,
    epoch: epochs(first)[Math.round(state.epoch)],
    step: steps(first)[Math.round(state.step)],
    view: state.view,
  };
  if (second) Object.assign(parameters, { run2: second.run, recipe2: second.recipe });
  if (searched()) parameters.search = searched();
  const hash = `#${new URLSearchParams(parameters)}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

function readLink() {
  stop();
  settle();
  const given = new URLSearchParams(location.hash.slice(1));
  const allowed = (key, values, fallback) => (values.includes(given.get(key)) ? given.get(key) : fallback);
  const pane = (suffix, fallback) => {
    const [run, recipe] = KINDS.map((kind) => nameOf(kind, given.get(`${kind}${suffix}`)));
    return fit({ run: run || fallback.run, recipe: recipe || fallback.recipe }, run ? "run" : "recipe");
  };
  const panes = [pane("", facts.best)];
  if (given.has("run2") || given.has("recipe2")) panes.push(pane("2", panes[0]));
  state.label = Math.max(0, facts.labels.findIndex(({ label }) => label === given.get("label")));
  state.view = allowed("view", ["raw", "rescaled"], "rescaled");
  const position = (key, values) => (given.has(key) ? nearest(values, Number(given.get(key))) : values.length - 1);
  state.epoch = position("epoch", epochs(panes[0]));
  state.step = position("step", steps(panes[0]));
  search(given.get("search") || "");
  setPanes(panes);
}

function setPanes(panes) {
  state.panes = panes;
  byId("panes").replaceChildren(...panes.map(buildPane));
  show();
}

function compare() {
  const [first] = state.panes;
  const other = (options, name) => options[(options.indexOf(name) + 1) % options.length];
  const recipes = recipesOf(first.run);
  const second = recipes.length > 1
    ? { run: first.run, recipe: other(recipes, first.recipe) }
    : fit({ run: other(names.runs, first.run), recipe: first.recipe }, "run");
  setPanes(state.panes.length > 1 ? [first] : [first, second]);
}
