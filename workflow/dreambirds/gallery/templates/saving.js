// Downloads: the dream's original file, including its metadata, and its recipe.
let received = null;
window.receiveFiles = (files) => { received = files; };

// On a page opened from disk, a link would open the image instead of saving it. The script next to the image's folder
// contains the file in base64.
function saveImage(event) {
  const link = event.currentTarget;
  if (location.protocol !== "file:") return;
  event.preventDefault();
  const [, folder, name] = link.getAttribute("href").match(/^(.*)\/([^/]*)$/);
  const script = document.createElement("script");
  script.onload = () => {
    script.remove();
    const bytes = Uint8Array.from(atob(received[name]), (character) => character.charCodeAt(0));
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
