"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const at = (id) => document.getElementById(id);
const names = { runs: Object.keys(facts.runs), recipes: Object.keys(facts.recipes) };
const [epochSlider, stepSlider] = [at("epoch"), at("step")];
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const path = (...parts) => parts.map(encodeURIComponent).join("/");
const clamp = (value, high) => Math.min(Math.max(value, 0), high);

// Where the sliders stand is counted in kept checkpoints and kept steps; a fraction lies between two of them.
const state = { label: 0, epoch: 0, step: 0, view: "rescaled", panes: [] };
let playing = null;

// A run's checkpoints that dream a recipe, for each pair that there is: "run/recipe".
const pairs = {};
for (const [name, places] of Object.entries(facts.dreamers)) {
  const run = facts.runs[name.split("/")[0]];
  const kept = ["epochs", "folders", "validation", "checkpoints"];
  pairs[name] = Object.fromEntries(kept.map((key) => [key, places.map((place) => run[key][place])]));
}
const dreamt = ({ run, recipe }) => pairs[`${run}/${recipe}`];
const recipesOf = (run) => names.recipes.filter((recipe) => dreamt({ run, recipe }));
const epochs = (pane) => dreamt(pane).epochs;
const steps = (pane) => facts.recipes[pane.recipe].steps;

function nearest(values, wanted) {
  const far = (place) => Math.abs(values[place] - wanted);
  return values.reduce((best, _, place) => (far(place) < far(best) ? place : best), 0);
}

// Not every run dreams every recipe: of a pair that is not there, one half stays and the other is the first that fits.
function fit(pane, stays) {
  if (dreamt(pane)) return pane;
  if (stays === "run") return { run: pane.run, recipe: recipesOf(pane.run)[0] };
  return { run: names.runs.find((run) => dreamt({ run, recipe: pane.recipe })), recipe: pane.recipe };
}

// The second pane goes along with the first; where it keeps other epochs or steps, it shows the nearest.
function follow(mine, first, place) {
  const same = mine.length === first.length && mine.every((value, spot) => value === first[spot]);
  return same ? place : nearest(mine, first[Math.round(place)]);
}
function places(pane) {
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
function picture(pane, epoch, step) {
  const [label, kept] = [facts.labels[state.label].label, dreamt(pane).folders[epoch]];
  const folder = path("pictures", "dreams", pane.run, kept, pane.recipe, label);
  return `${folder}/${facts.recipes[pane.recipe].files[step]}${ending()}.png`;
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
      settle();
      const kept = [epochs(state.panes[0])[Math.round(state.epoch)], steps(state.panes[0])[Math.round(state.step)]];
      Object.assign(pane, fit({ ...pane, [kind]: select.value }, kind));
      offer(pane);
      state.epoch = nearest(epochs(state.panes[0]), kept[0]);
      state.step = nearest(steps(state.panes[0]), kept[1]);
      show();
    });
  }
  offer(pane);
  swipe(find(".frame"));
  find(".picture").addEventListener("click", savePicture);
  return box;
}

// Recipes that the chosen run does not dream can't be chosen.
function offer(pane) {
  const select = pane.find(".recipe select");
  for (const option of select.options) option.disabled = !dreamt({ run: pane.run, recipe: option.value });
  select.value = pane.recipe;
  pane.find(".run select").value = pane.run;
}

function showPane(pane) {
  const { epoch, step } = places(pane);
  const [kept, recipe, label] = [dreamt(pane), facts.recipes[pane.recipe], facts.labels[state.label]];
  const moving = epoch % 1 ? "epoch" : "step";
  const [low, high] = [Math.floor, Math.ceil].map((round) => ({ epoch: round(epoch), step: round(step) }));
  if (moving === "epoch") low.step = high.step = Math.round(step);
  const share = (moving === "epoch" ? epoch : step) % 1;
  const [e, s] = [Math.round(epoch), Math.round(step)];
  const moment = `epoch ${kept.epochs[e]} · step ${recipe.steps[s]}`;
  const [under, over] = [pane.find(".under"), pane.find(".over")];
  set(under, "src", picture(pane, low.epoch, low.step));
  set(over, "src", picture(pane, high.epoch, high.step));
  over.style.opacity = share;
  under.alt = `${label.name}, dreamt by ${pane.run} under ${pane.recipe}, ${moment}, ${state.view}`;
  under.style.aspectRatio = `${recipe.shape[1]} / ${recipe.shape[0]}`;
  const caption = pane.find("figcaption");
  caption.replaceChildren(Object.assign(document.createElement("b"), { textContent: label.name }), ` ${moment}`);
  pane.find(".provenance").textContent = [
    `${pane.run} (${facts.runs[pane.run].model}), epoch ${kept.epochs[e]}`,
    `${pane.recipe}, step ${recipe.steps[s]}, seed ${recipe.seed}, ${state.view}`,
    `checkpoint ${kept.checkpoints[e].slice(0, 16)}`,
  ].join("\n");
  const words = [pane.run, kept.folders[e], pane.recipe, label.label, recipe.files[s]];
  Object.assign(pane.find(".picture"), { href: picture(pane, e, s), download: `${words.join("_")}${ending()}.png` });
  linkYaml(pane, recipe);
  const real = pane.find(".real img");
  set(real, "src", path("pictures", "real", `${label.label}.png`));
  real.alt = `A real picture of ${label.name}`;
  const lines = measured(pane, e, s);
  chart(pane.find(".epochs"), kept.epochs, epoch, "training epoch", lines.epochs);
  chart(pane.find(".steps"), recipe.steps, step, "dream step", lines.steps);
  legend(pane.find(".legend"), [...lines.epochs, ...lines.steps]);
  table(pane, e, s);
  prepare(pane, e, s);
}

// What the sliders reach next is loaded before, so that a picture never blinks on its way.
const prepared = new Map();
function prepare(pane, e, s) {
  for (const by of [-2, -1, 1, 2]) {
    for (const [epoch, step] of [[e + by, s], [e, s + by]]) {
      if (!(epoch in epochs(pane) && step in steps(pane))) continue;
      const address = picture(pane, epoch, step);
      if (!prepared.has(address)) prepared.set(address, Object.assign(new Image(), { src: address }));
    }
  }
  for (const address of [...prepared.keys()].slice(0, -200)) prepared.delete(address);
}

function set(element, key, text) {
  if (element.getAttribute(key) !== text) element.setAttribute(key, text);
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
  const [kept, recipe, place] = [dreamt(pane), facts.recipes[pane.recipe], Number(cell.id.slice(6))];
  const [part, row] = [Math.floor(place / facts.perSheet), place % facts.perSheet];
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

let shown = "";
function showGrid() {
  const [{ run, recipe }] = state.panes;
  const now = [run, recipe, Math.round(state.epoch), Math.round(state.step), state.view, state.label].join("/");
  if (now === shown) return;
  shown = now;
  for (const [place, cell] of [...at("grid").children].entries()) {
    cell.setAttribute("aria-selected", place === state.label);
    if (cell.dataset.near === "true") paint(cell);
  }
  at("grid").setAttribute("aria-activedescendant", `class-${state.label}`);
}

function choose(place) {
  state.label = clamp(place, facts.labels.length - 1);
  show();
  if (document.activeElement === at("grid")) at(`class-${state.label}`).scrollIntoView({ block: "nearest" });
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

// Browsers refuse links that change too often, so the link waits until the view rests.
let waiting = null;
function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(writeLink, 150);
}

function writeLink() {
  const [first, second] = state.panes;
  const words = {
    run: first.run,
    recipe: first.recipe,
    label: facts.labels[state.label].label,
    epoch: epochs(first)[Math.round(state.epoch)],
    step: steps(first)[Math.round(state.step)],
    view: state.view,
  };
  if (second) Object.assign(words, { run2: second.run, recipe2: second.recipe });
  const hash = `#${new URLSearchParams(words)}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

function recall() {
  stop();
  settle();
  const words = new URLSearchParams(location.hash.slice(1));
  const known = (word, allowed, otherwise) => (allowed.includes(words.get(word)) ? words.get(word) : otherwise);
  const pane = (mark, otherwise) => fit({
    run: known(`run${mark}`, names.runs, otherwise.run),
    recipe: known(`recipe${mark}`, names.recipes, otherwise.recipe),
  }, names.runs.includes(words.get(`run${mark}`)) ? "run" : "recipe");
  const panes = [pane("", facts.best)];
  if (words.has("run2") || words.has("recipe2")) panes.push(pane("2", panes[0]));
  state.label = Math.max(0, facts.labels.findIndex(({ label }) => label === words.get("label")));
  state.view = known("view", ["raw", "rescaled"], "rescaled");
  const place = (word, values) => (words.has(word) ? nearest(values, Number(words.get(word))) : values.length - 1);
  state.epoch = place("epoch", epochs(panes[0]));
  state.step = place("step", steps(panes[0]));
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
  const recipes = recipesOf(first.run);
  const second = recipes.length > 1
    ? { run: first.run, recipe: other(recipes, first.recipe) }
    : fit({ run: other(names.runs, first.run), recipe: first.recipe }, "run");
  setPanes(state.panes.length > 1 ? [first] : [first, second]);
}
