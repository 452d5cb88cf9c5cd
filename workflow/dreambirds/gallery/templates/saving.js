// What can be saved: the picture as the study has it, with all that it says of itself, and its recipe.
let arrived = null;
window.arrive = (files) => { arrived = files; };

// From disk a link to a picture would only open it, so a script beside it brings the file as text.
function savePicture(event) {
  const link = event.currentTarget;
  if (location.protocol !== "file:") return;
  event.preventDefault();
  const [, folder, name] = link.getAttribute("href").match(/^(.*)\/([^/]*)$/);
  const script = document.createElement("script");
  script.onload = () => {
    script.remove();
    const bytes = Uint8Array.from(atob(arrived[name]), (letter) => letter.charCodeAt(0));
    save(new Blob([bytes], { type: "image/png" }), link.download);
  };
  script.onerror = () => open(link.href);
  script.src = `${folder}.js`;
  document.head.append(script);
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function linkYaml(pane, recipe) {
  const link = pane.find(".yaml");
  if (link.dataset.recipe === pane.recipe) return;
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([recipe.yaml], { type: "application/yaml" }));
  link.download = `${pane.recipe}.yaml`;
  link.dataset.recipe = pane.recipe;
}
