// Charts next to the dream: lines over epochs and steps, with a marker at the slider's position. They show probabilities from
// 0 to 1, or the activation of a target that is not a class.
function chartLines(pane, e, s) {
  const [kept, recipe] = [checkpointsOf(pane), facts.recipes[pane.recipe]];
  const over = (measure) => ({
    epochs: kept.epochs.map((_, index) => value(pane, measure, state.label, index, s)),
    steps: recipe.steps.map((_, index) => value(pane, measure, state.label, e, index)),
  });
  const [dreamer, judge] = [over("dreamer_probability"), over("judge_probability")];
  const line = (values, name, color, dash) => ({ values, name, color, dash });
  if ([...dreamer.steps, ...judge.steps].every((share) => share === null)) {
    const activation = over("dreamer_logit");
    const known = [0, ...activation.epochs, ...activation.steps].filter((each) => each !== null);
    const lines = (axis) => [line(activation[axis], facts.measures.dreamer_logit, "var(--second)")];
    const range = [Math.min(...known), Math.max(...known)];
    return { epochs: lines("epochs"), steps: lines("steps"), range, name: "Activation" };
  }
  const both = (axis) => [
    line(dreamer[axis], facts.measures.dreamer_probability, "var(--second)"),
    line(judge[axis], facts.measures.judge_probability, "var(--accent)"),
  ];
  return {
    epochs: [...both("epochs"), line(kept.validation, "validation accuracy", "var(--faint)", "4 4")],
    steps: both("steps"),
    range: [0, 1],
    name: "Probabilities",
  };
}

const SVG = "http://www.w3.org/2000/svg";
function draw(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return parent.appendChild(element);
}

function chart(box, xs, position, title, lines, [low, high], name) {
  const [width, height, left, bottom] = [300, 130, 26, 34];
  const x = (number) => left + (xs.length > 1 ? (number / (xs.length - 1)) * (width - left - 12) : (width - left) / 2);
  const span = high - low || 1;
  const y = (number) => 8 + (1 - (number - low) / span) * (height - bottom - 8);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${name} by ${title}`);
  for (const number of [low, low + span / 2, low + span]) {
    draw(svg, "path", { class: "axis", d: `M${left} ${y(number)}H${width - 12}` });
    draw(svg, "text", { x: left - 6, y: y(number) + 4, "text-anchor": "end" }, Number(number.toPrecision(3)));
  }
  const every = Math.ceil(xs.length / 7);
  xs.forEach((number, index) => {
    if (index % every) return;
    draw(svg, "text", { x: x(index), y: height - bottom + 15, "text-anchor": "middle" }, number);
  });
  draw(svg, "text", { x: width - 12, y: height - 3, "text-anchor": "end" }, title);
  for (const { values, color, dash } of lines) {
    const points = values.map((share, index) => [x(index), share]).filter(([, share]) => share !== null);
    if (!points.length) continue;
    const d = "M" + points.map(([cx, share]) => `${cx} ${y(share)}`).join("L");
    const stroke = { stroke: color, "stroke-width": 2, "stroke-dasharray": dash || "none" };
    draw(svg, "path", { d, fill: "none", ...stroke });
    if (dash) continue;
    for (const [cx, share] of points) draw(svg, "circle", { cx, cy: y(share), r: 2.5, fill: color });
  }
  draw(svg, "path", { class: "marker", d: `M${x(position)} 4V${height - bottom}` });
  box.replaceChildren(svg);
}

function legend(box, lines) {
  const drawn = lines.filter(({ values }) => values.some((share) => share !== null));
  const entries = new Map(drawn.map((line) => [line.name, line]));
  box.replaceChildren(...[...entries.values()].map(({ name, color, dash }) => {
    const entry = document.createElement("span");
    const mark = document.createElement("i");
    mark.style.borderTopColor = color;
    mark.style.borderTopStyle = dash ? "dashed" : "solid";
    entry.append(mark, name);
    return entry;
  }));
}

function table(pane, e, s) {
  const rows = [];
  for (const [measure, title] of Object.entries(facts.measures)) {
    const measured = value(pane, measure, state.label, e, s);
    if (measured === null || measured === undefined || measured === "") continue;
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: title });
    const predicted = facts.labels.find(({ label }) => label === measured);
    const text = predicted ? predicted.name : measured;
    row.append(head, Object.assign(document.createElement("td"), { textContent: text }));
    rows.push(row);
  }
  pane.find("tbody").replaceChildren(...rows);
}
