// The search field above the grid, which a page with few labels does not have.
const searchField = byId("search");
const searched = () => (searchField ? searchField.value.trim() : "");
let shownLabels = facts.labels.map((_, index) => index); // the labels whose cells are shown, in their order

// Accents of Latin and Greek do not matter; marks of other scripts do.
const fold = (text) =>
  text.normalize("NFKD").replace(/([\p{Script=Latin}\p{Script=Greek}])\p{M}+/gu, "$1").normalize("NFC").toLowerCase();
const texts = facts.labels.map(({ label, name }) => fold(`${name} ${label}`));
const wholeWords = texts.map((text) => new Set(text.split(/[^\p{L}\p{M}\p{N}]+/u)));

// The labels whose text contains all words; those that contain each number as a whole word come first.
function matches(words) {
  const numbers = words.filter((word) => /^\d+$/.test(word));
  const found = [...texts.keys()].filter((index) => words.every((word) => texts[index].includes(word)));
  const [exact, others] = [[], []];
  for (const index of found) {
    (numbers.every((number) => wholeWords[index].has(number)) ? exact : others).push(index);
  }
  return [...exact, ...others];
}

// Show only the cells that match a text.
function search(text) {
  if (!searchField) return;
  if (searchField.value.trim() !== text.trim()) searchField.value = text;
  const before = shownLabels;
  shownLabels = matches(fold(text).split(/\s+/).filter(Boolean));
  byId("found").textContent = searched() ? `${shownLabels.length} of ${texts.length}` : "";
  if (String(before) === String(shownLabels)) return;
  const visible = new Set(shownLabels);
  for (const [index, cell] of cells.entries()) cell.hidden = !visible.has(index);
  byId("grid").append(...shownLabels.map((index) => cells[index]));
}

// Choose another one of the shown cells; if the chosen one is not shown, the first or the last.
function chooseShown(by) {
  if (!shownLabels.length) return;
  const at = shownLabels.indexOf(state.label);
  const last = shownLabels.length - 1;
  choose(shownLabels[at < 0 ? (by > 0 ? 0 : last) : Math.max(0, clamp(at + by, last))]);
}

if (searchField) {
  searchField.addEventListener("input", () => {
    search(searchField.value);
    scheduleLink();
  });
  searchField.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && shownLabels.length) choose(shownLabels[0]);
    if (event.key !== "Escape") return;
    search("");
    scheduleLink();
    event.preventDefault();
  });
}
