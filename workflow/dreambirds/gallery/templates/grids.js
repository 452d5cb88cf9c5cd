// Grids: the runs and recipes that lists of values in a config stand for, and the controls that choose one of them.
// A point has the name of its run or recipe in the config, `origin`, and the values of the keys that vary, `varied`.
const KINDS = ["run", "recipe"];
const pointOf = (kind, pair) => facts[`${kind}s`][pair[kind]];
const originOf = (kind, pair) => pointOf(kind, pair).origin;
const origins = (kind) => [...new Set(names[`${kind}s`].map((name) => originOf(kind, { [kind]: name })))];
const pointsOf = (kind, origin) => names[`${kind}s`].filter((name) => originOf(kind, { [kind]: name }) === origin);
const sameOrigins = (one, other) => KINDS.every((kind) => originOf(kind, one) === originOf(kind, other));
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const existing = names.runs.flatMap((run) => recipesOf(run).map((recipe) => ({ run, recipe })));

// The name of a run or recipe in a link; the name of a grid stands for its first point.
function nameOf(kind, text) {
  return names[`${kind}s`].includes(text) ? text : pointsOf(kind, text)[0];
}

// The distance between two values of a key: 1 to 2 for different numbers, 2 for other different values.
function gap(one, other) {
  if (same(one, other)) return 0;
  const apart = Math.abs(one - other);
  return typeof one === "number" && typeof other === "number" ? 1 + apart / (1 + apart) : 2;
}

// The distance of a run and recipe from the points of a target; another origin is farther than any value.
function distance(pair, target) {
  let sum = 0;
  for (const kind of KINDS) {
    const { origin, varied } = pointOf(kind, pair);
    if (origin !== target[kind].origin) sum += 1000;
    for (const [key, chosen] of Object.entries(target[kind].varied)) {
      if (key in varied) sum += gap(varied[key], chosen);
    }
  }
  return sum;
}

// The nearest run and recipe with dreams among those that are allowed; the first one of several.
function closest(target, allowed) {
  const found = existing.filter(allowed).map((pair) => ({ pair, far: distance(pair, target) }));
  return found.reduce((best, each) => (each.far < best.far ? each : best));
}
const targetOf = (pair) => Object.fromEntries(KINDS.map((kind) => [kind, pointOf(kind, pair)]));

// If a run has no dreams of a recipe, keep the run or the recipe, and take the nearest recipe or run that has dreams.
function fit(pane, keep) {
  return checkpointsOf(pane) ? pane : closest(targetOf(pane), (pair) => pair[keep] === pane[keep]).pair;
}

function chooseOrigin(pane, kind, origin) {
  const target = targetOf(pane);
  target[kind] = { origin, varied: target[kind].varied };
  pane.adjusted = false;
  change(pane, closest(target, (pair) => originOf(kind, pair) === origin).pair);
}

// Change one value of a grid. If no dreams have this combination, others of its values change as little as possible.
function chooseValue(pane, kind, key, chosen) {
  const target = targetOf(pane);
  target[kind] = { ...target[kind], varied: { ...target[kind].varied, [key]: chosen } };
  const allowed = (pair) => sameOrigins(pair, pane) && same(pointOf(kind, pair).varied[key], chosen);
  const { pair, far } = closest(target, allowed);
  pane.adjusted = far > 0;
  change(pane, pair);
  if (pane.adjusted) byId("announcement").textContent = chosenText(pane);
}

// The keys that vary among the dreams with the origins of a pane, with their values; numbers in ascending order.
function axes(kind, pane) {
  const found = new Map();
  for (const pair of existing.filter((each) => sameOrigins(each, pane))) {
    for (const [key, chosen] of Object.entries(pointOf(kind, pair).varied)) {
      if (!found.has(key)) found.set(key, new Map());
      found.get(key).set(JSON.stringify(chosen), chosen);
    }
  }
  const ordered = [...found].map(([key, values]) => {
    const list = [...values.values()];
    return { key, values: isOrdered(list) ? list.sort((one, other) => one - other) : list };
  });
  return ordered.filter(({ values }) => values.length > 1);
}
const isOrdered = (values) => values.every((each) => typeof each === "number");

function buildMenus(pane) {
  for (const kind of KINDS) {
    const select = pane.find(`.${kind} select`);
    for (const origin of origins(kind)) {
      const points = pointsOf(kind, origin);
      select.add(new Option(points.length > 1 ? origin : points[0], origin));
    }
    pane.find(`.${kind}`).hidden = select.options.length < 2;
    select.addEventListener("change", () => chooseOrigin(pane, kind, select.value));
  }
  updateMenus(pane);
}

// Disable the recipes of which the selected run has no dreams. Other origins have other controls.
function updateMenus(pane) {
  const [run, recipe] = KINDS.map((kind) => originOf(kind, pane));
  for (const option of pane.find(".recipe select").options) {
    const points = existing.filter((pair) => originOf("recipe", pair) === option.value);
    option.disabled = !points.some((pair) => originOf("run", pair) === run);
  }
  pane.find(".run select").value = run;
  pane.find(".recipe select").value = recipe;
  const shown = JSON.stringify([run, recipe]);
  if (pane.origins !== shown) buildAxes(pane);
  pane.origins = shown;
  for (const update of pane.updates) update();
  pane.find(".chosen").textContent = pane.updates.length ? chosenText(pane) : "";
}

function buildAxes(pane) {
  pane.updates = [];
  pane.hasTries = axes("recipe", pane).some(({ key }) => key === "seed");
  for (const kind of KINDS) {
    const controls = axes(kind, pane).map(({ key, values }) => axisControl(pane, kind, key, values));
    pane.find(`.${kind}-axes`).replaceChildren(...controls.map(({ box }) => box));
    pane.updates.push(...controls.map(({ update }) => update));
  }
}

// A slider for numbers, and a menu for other values.
function axisControl(pane, kind, key, values) {
  const create = (name, properties) => Object.assign(document.createElement(name), properties);
  const title = key !== "seed" ? key : kind === "run" ? "training seed" : "dream seed";
  const [box, slides] = [create("label", { className: "axis" }), isOrdered(values)];
  const input = slides ? create("input", { type: "range", min: 0, max: values.length - 1, step: 1 }) : create("select");
  if (!slides) values.forEach((each, index) => input.add(new Option(valueText(each), index)));
  input.setAttribute("aria-label", title);
  input.addEventListener(slides ? "input" : "change", () => chooseValue(pane, kind, key, values[input.value]));
  const output = create("output");
  box.append(create("span", { textContent: title }), input, ...(slides ? [output] : []));
  const update = () => {
    const index = values.findIndex((each) => same(each, pointOf(kind, pane).varied[key]));
    input.value = index;
    if (slides) input.setAttribute("aria-valuetext", values[index]);
    output.textContent = values[index];
  };
  return { box, update };
}

// A value as it is in the config: text without quotes, a file without its folder, a mapping in one line.
function valueText(chosen) {
  if (typeof chosen === "string") return chosen.split("/").at(-1);
  return JSON.stringify(chosen).replaceAll('"', "").replaceAll(":", ": ").replaceAll(",", ", ");
}

function chosenText(pane) {
  const shown = `run ${pane.run} · recipe ${pane.recipe}`;
  return pane.adjusted ? `${shown} (the nearest combination with dreams)` : shown;
}

// The mark of the dream that the dreamer's own features select among those of several dream seeds.
function pickedMark() {
  const textContent = "◆ closest of its seeds to the photographs, by the dreamer's own features";
  return Object.assign(document.createElement("span"), { className: "picked", textContent });
}
