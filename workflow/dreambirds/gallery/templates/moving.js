// Input: sliders, touch, keys, buttons, the link, and playback.
// After a key press or the release of a slider, the view glides to the nearest dream, or jumps with reduced motion.
const GLIDE = 200; // milliseconds
let goal = null;
function move(kind, by) {
  const from = goal && goal.kind === kind ? goal.index : Math.round(state[kind]);
  const [start, began] = [state[kind], performance.now()];
  if (goal && goal.kind !== kind) settle();
  if (goal) cancelAnimationFrame(goal.frame);
  const values = kind === "epoch" ? epochs(state.panes[0]) : steps(state.panes[0]);
  goal = { kind, index: clamp(from + by, values.length - 1) };
  const tick = (now) => {
    const share = clamp((now - began) / GLIDE, 1);
    state[kind] = start + (goal.index - start) * share;
    if (share < 1) goal.frame = requestAnimationFrame(tick);
    else settle();
    show();
  };
  tick(reducedMotion ? Infinity : began);
}

function settle() {
  if (!goal) return;
  cancelAnimationFrame(goal.frame);
  state[goal.kind] = goal.index;
  goal = null;
}

for (const [slider, kind] of [[epochSlider, "epoch"], [stepSlider, "step"]]) {
  slider.addEventListener("input", () => {
    stop();
    settle();
    const other = kind === "epoch" ? "step" : "epoch";
    state[other] = Math.round(state[other]);
    state[kind] = reducedMotion ? Math.round(slider.value) : Number(slider.value);
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
  updatePlayButton();
}

function stop() {
  cancelAnimationFrame(playing);
  playing = null;
  updatePlayButton();
}

function updatePlayButton() {
  byId("play").textContent = playing ? "Stop" : "Play";
}

function go(kind, by) {
  stop();
  move(kind, by);
}

const keys = {
  ArrowLeft: () => go("epoch", -1), ArrowRight: () => go("epoch", 1),
  ArrowUp: () => go("step", 1), ArrowDown: () => go("step", -1),
  ",": () => chooseShown(-1), ".": () => chooseShown(1), c: compare, " ": play,
  r: () => { state.view = state.view === "raw" ? "rescaled" : "raw"; show(); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  const { target } = event;
  const arrow = event.key.startsWith("Arrow");
  if (target.matches("select, [type=radio], [type=search]") || (target.matches("button, a") && event.key === " ")) return;
  if (target.matches(".axis input") && arrow) return;
  if (target === byId("grid") && arrow) {
    const columns = getComputedStyle(target).gridTemplateColumns.split(" ").length;
    chooseShown({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key]);
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
byId("compare").addEventListener("click", compare);
byId("compare").hidden = Object.keys(pairs).length < 2;
byId("play").addEventListener("click", play);
byId("copy").addEventListener("click", async () => {
  writeLink();
  try {
    await navigator.clipboard.writeText(location.href);
    byId("announcement").textContent = byId("copy").textContent = "Copied";
  } catch {
    prompt("Link to this view", location.href);
  }
  setTimeout(() => { byId("copy").textContent = "Copy link"; }, 1500);
});
window.addEventListener("hashchange", readLink);

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
}
function storedTheme() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}
byId("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", theme); } catch { /* browsers may deny storage to pages opened from disk */ }
  setTheme(theme);
});
setTheme(storedTheme() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
buildGrid();
readLink();
