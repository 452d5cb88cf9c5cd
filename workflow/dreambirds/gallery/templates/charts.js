// The curves beside the picture: lines over kept epochs or steps, and a marker where the slider is.
function measured(pane, e, s) {
  const [kept, recipe] = [dreamt(pane), facts.recipes[pane.recipe]];
  const over = (measure) => ({
    epochs: kept.epochs.map((_, place) => value(pane, measure, state.label, place, s)),
    steps: recipe.steps.map((_, place) => value(pane, measure, state.label, e, place)),
  });
  const [own, judge] = [over("dreamer_probability"), over("judge_probability")];
  const line = (values, name, colour, dash) => ({ values, name, colour, dash });
  const both = (axis) => [
    line(own[axis], "the dreamer's own probability", "var(--second)"),
    line(judge[axis], "the judge's probability", "var(--accent)"),
  ];
  return {
    epochs: [...both("epochs"), line(kept.validation, "validation accuracy of the run", "var(--faint)", "4 4")],
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
  const [width, height, left, bottom] = [300, 130, 26, 34];
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
  const every = Math.ceil(xs.length / 7);
  xs.forEach((number, spot) => {
    if (spot % every) return;
    draw(svg, "text", { x: x(spot), y: height - bottom + 15, "text-anchor": "middle" }, number);
  });
  draw(svg, "text", { x: width - 12, y: height - 3, "text-anchor": "end" }, title);
  for (const { values, colour, dash } of lines) {
    const points = values.map((share, spot) => [x(spot), share]).filter(([, share]) => share !== null);
    if (!points.length) continue;
    const d = "M" + points.map(([across, share]) => `${across} ${y(share)}`).join("L");
    const stroke = { stroke: colour, "stroke-width": 2, "stroke-dasharray": dash || "none" };
    draw(svg, "path", { d, fill: "none", ...stroke });
    if (dash) continue;
    for (const [cx, share] of points) draw(svg, "circle", { cx, cy: y(share), r: 2.5, fill: colour });
  }
  draw(svg, "path", { class: "marker", d: `M${x(place)} 4V${height - bottom}` });
  box.replaceChildren(svg);
}

function legend(box, lines) {
  const drawn = lines.filter(({ values }) => values.some((share) => share !== null));
  const entries = new Map(drawn.map((line) => [line.name, line]));
  box.replaceChildren(...[...entries.values()].map(({ name, colour, dash }) => {
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
