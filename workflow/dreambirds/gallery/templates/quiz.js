"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const byId = (id) => document.getElementById(id);
const KEY = `quiz-${facts.quiz}`;
const [CHOICE, FREE, NONE] = ["choice", "free", "none"];

// `answers` contains one object per image that has an answer, by the image's position.
let state = { position: 0, person: "", anonymous: `anonymous-${Math.random().toString(36).slice(2, 8)}`, answers: {} };
let began = performance.now();

try {
  state = { ...state, ...JSON.parse(localStorage.getItem(KEY) || "{}") };
} catch (_) { /* storage is not available: a reload starts again */ }

function keep() {
  try { localStorage.setItem(KEY, JSON.stringify(state)); } catch (_) { /* as above */ }
}

function answer(kind, text) {
  const seconds = Math.round((performance.now() - began) / 100) / 10;
  state.answers[state.position] = { kind, answer: text, seconds };
  go(state.position + 1);
}

function go(position) {
  const furthest = Object.keys(state.answers).length; // images are answered in their order
  state.position = Math.max(0, Math.min(position, facts.images.length, furthest));
  keep();
  show();
}

function show() {
  const [count, done] = [facts.images.length, state.position === facts.images.length];
  byId("question").hidden = done;
  byId("end").hidden = !done;
  byId("progress").textContent = done ? `All ${count} images are answered.` : `Image ${state.position + 1} of ${count}`;
  began = performance.now();
  if (done) return;
  byId("image").src = facts.images[state.position].source;
  byId("image").alt = `Image ${state.position + 1} of ${count}`;
  const given = state.answers[state.position] || {};
  for (const button of document.querySelectorAll("#choices button")) {
    button.setAttribute("aria-pressed", given.kind === CHOICE && given.answer === button.dataset.label);
  }
  byId("none").setAttribute("aria-pressed", given.kind === NONE);
  byId("text").value = given.kind === FREE ? given.answer : "";
  byId("back").disabled = state.position === 0;
  byId("forward").disabled = !(state.position in state.answers);
}

const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

function save() {
  const rows = Object.entries(state.answers).map(([position, given]) => ({
    ...given,
    picture_sha256: facts.images[position].sha256,
    person: state.person.trim() || state.anonymous,
    shown: Number(position) + 1,
    quiz: facts.quiz,
  }));
  const lines = [facts.columns, ...rows.map((row) => facts.columns.map((column) => quoted(String(row[column]))))];
  const blob = new Blob([lines.map((line) => `${line.join(",")}\n`).join("")], { type: "text/csv" });
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "answers.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

facts.classes.forEach(({ label, name }) => {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: name, dir: "auto" });
  button.dataset.label = label;
  button.addEventListener("click", () => answer(CHOICE, label));
  byId("choices").append(button);
});
byId("classes").hidden = byId("number-keys").hidden = facts.choices === "free";
byId("free").hidden = facts.choices === "classes";
byId("last-key").textContent = Math.min(9, facts.classes.length);

byId("free").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (!text) return;
  byId("text").blur(); // so that the number keys choose a class again
  answer(FREE, text);
});
byId("none").addEventListener("click", () => answer(NONE, ""));
byId("back").addEventListener("click", () => go(state.position - 1));
byId("forward").addEventListener("click", () => go(state.position + 1));
byId("review").addEventListener("click", () => go(facts.images.length - 1));
byId("restart").addEventListener("click", () => {
  if (!confirm("Delete all answers in this browser?")) return;
  state.answers = {};
  go(0);
});
byId("save").addEventListener("click", save);
byId("person").value = state.person;
byId("person").addEventListener("input", (event) => {
  state.person = event.target.value;
  keep();
});

document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "ArrowLeft") return go(state.position - 1);
  if (event.key === "ArrowRight") return go(state.position + 1);
  if (state.position === facts.images.length) return;
  if (event.key === "0") return answer(NONE, "");
  const chosen = facts.choices !== "free" && /^[1-9]$/.test(event.key) && facts.classes[event.key - 1];
  if (chosen) answer(CHOICE, chosen.label);
});
go(state.position);
