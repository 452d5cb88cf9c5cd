// What moves the view: sliders, fingers, keys, buttons, the link, and play.
// Keys, and a slider that is let go, glide to a kept picture; who wants no motion is there at once.
const GLIDE = 200; // milliseconds
let goal = null;
function move(kind, by) {
  const from = goal && goal.kind === kind ? goal.place : Math.round(state[kind]);
  const [start, began] = [state[kind], performance.now()];
  if (goal && goal.kind !== kind) settle();
  if (goal) cancelAnimationFrame(goal.frame);
  const values = kind === "epoch" ? epochs(state.panes[0]) : steps(state.panes[0]);
  goal = { kind, place: clamp(from + by, values.length - 1) };
  const tick = (now) => {
    const share = clamp((now - began) / GLIDE, 1);
    state[kind] = start + (goal.place - start) * share;
    if (share < 1) goal.frame = requestAnimationFrame(tick);
    else settle();
    show();
  };
  tick(calm ? Infinity : began);
}

function settle() {
  if (!goal) return;
  cancelAnimationFrame(goal.frame);
  state[goal.kind] = goal.place;
  goal = null;
}

for (const [slider, kind] of [[epochSlider, "epoch"], [stepSlider, "step"]]) {
  slider.addEventListener("input", () => {
    stop();
    settle();
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
    stop();
    settle();
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
    stop();
    move("epoch", 0);
    return;
  }
  settle();
  const last = epochs(state.panes[0]).length - 1;
  state.step = Math.round(state.step);
  if (Math.round(state.epoch) === last) state.epoch = 0;
  let before = performance.now();
  const tick = (now) => {
    state.epoch = Math.min(last, state.epoch + (now - before) / 900);
    before = now;
    if (state.epoch < last) playing = requestAnimationFrame(tick);
    else stop();
    show();
  };
  playing = requestAnimationFrame(tick);
  sayPlaying();
}

function stop() {
  cancelAnimationFrame(playing);
  playing = null;
  sayPlaying();
}

function sayPlaying() {
  at("play").textContent = playing ? "Stop" : "Play";
}

function go(kind, by) {
  stop();
  move(kind, by);
}

const keys = {
  ArrowLeft: () => go("epoch", -1), ArrowRight: () => go("epoch", 1),
  ArrowUp: () => go("step", 1), ArrowDown: () => go("step", -1),
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
    go("step", event.key === "ArrowLeft" || event.key === "ArrowDown" ? -1 : 1);
  } else if (target === epochSlider && arrow) {
    go("epoch", event.key === "ArrowLeft" || event.key === "ArrowDown" ? -1 : 1);
  } else {
    keys[event.key]();
  }
  event.preventDefault();
});

for (const radio of document.querySelectorAll("[name=view]")) {
  radio.addEventListener("change", () => { state.view = radio.value; show(); });
}
at("compare").addEventListener("click", compare);
at("compare").hidden = Object.keys(pairs).length < 2;
at("play").addEventListener("click", play);
at("copy").addEventListener("click", async () => {
  writeLink();
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
