/** The page: what is chosen, and what follows from it. */

import { Explained, FileError } from "./explained.js";
import { emptiness, legend, paint } from "./paint.js";
import { PictureError, decode, fitted } from "./picture.js";

const TOP = 5;
const FILES = "files/";

const at = (id) => document.getElementById(id);

const state = {
  /** @type {{title: string, file: string, about: string, labels: string[]}[]} */
  models: [],
  /** @type {Record<string, number[][]>} */
  palettes: {},
  /** @type {string[]} */
  labels: [],
  /** @type {Explained | null} */
  model: null,
  /** @type {{bitmap: ImageBitmap, name: string} | null} */
  picture: null,
  /** @type {{canvas: HTMLCanvasElement, pixels: Uint8Array} | null} */
  seen: null,
  /** @type {number | null} null for the top class */
  target: null,
  /** @type {import("./explained.js").Explanation | null} */
  found: null,
  layer: 0,
};

// ---- work is done one piece after the other, in the order it was asked for

let queue = Promise.resolve();

/** Do `work` after what is under way; what goes wrong is told to the user. */
function enqueue(work) {
  queue = queue.then(async () => {
    document.body.setAttribute("aria-busy", "true");
    try {
      await work();
      at("alert").hidden = true;
    } catch (error) {
      if (!(error instanceof FileError || error instanceof PictureError)) console.error(error);
      tell(error.message ?? String(error));
    } finally {
      document.body.removeAttribute("aria-busy");
    }
  });
  return queue;
}

function tell(message) {
  at("alert").textContent = message;
  at("alert").hidden = false;
}

// ---- model and picture

/** @param {Uint8Array} bytes */
async function useModel(bytes, name, { labels = [], about = "" } = {}) {
  at("status").textContent = `Loading ${name}…`;
  const model = await Explained.load(bytes, name).catch((error) => {
    showResult();
    throw error;
  });
  await state.model?.release();
  Object.assign(state, { model, labels, target: null, layer: 0 });
  showModel(about);
  await explain();
}

async function useBundled({ file, title, labels, about }) {
  const answer = await fetch(FILES + file);
  if (!answer.ok) throw new FileError(`${title} is not here (${answer.status}); make web writes it.`);
  await useModel(new Uint8Array(await answer.arrayBuffer()), title, { labels, about });
}

/** @param {Blob} blob */
async function usePicture(blob, name) {
  const bitmap = await decode(blob, name);
  Object.assign(state, { picture: { bitmap, name }, target: null });
  for (const button of at("samples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.name === name));
  }
  await explain();
}

async function useSample(file) {
  const answer = await fetch(FILES + file);
  if (!answer.ok) throw new PictureError(`${file} is not here (${answer.status}); make web copies it.`);
  await usePicture(await answer.blob(), file);
}

/** Take files of any kind that the page knows: class names, a model, a picture. */
function useFiles(files) {
  enqueue(async () => {
    const all = [...files];
    const names = all.find((f) => /\.txt$/i.test(f.name));
    const model = all.find((f) => /\.onnx$/i.test(f.name));
    const picture = all.find((f) => f !== names && f !== model);
    const labels = names ? (await names.text()).trimEnd().split(/\r?\n/) : undefined;
    if (model) {
      await useModel(new Uint8Array(await model.arrayBuffer()), model.name, { labels });
      at("model").value = "";
    } else if (labels) {
      state.labels = labels;
      showResult();
    }
    if (picture) await usePicture(picture, picture.name || "the picture");
  });
}

async function explain() {
  const { model, picture } = state;
  if (!model || !picture) return;
  state.seen = fitted(picture.bitmap, model, model.told.preprocess);
  state.found = await model.run(state.seen.pixels, state.target);
  showResult();
  document.dispatchEvent(new CustomEvent("explained", { detail: { ...state.found, pixels: state.seen.pixels } }));
}

// ---- what is shown

function showModel(about) {
  const { told, layers, width, height } = state.model;
  at("layer").replaceChildren(...layers.map(({ name }, i) => new Option(name, i)));
  at("layer").disabled = layers.length < 2;
  const base = told.options?.base ? `${told.method}, from ${told.options.base}` : told.method;
  const facts = { Method: base, "Made from": told.source ?? "a model in memory", Input: `${width} × ${height} pixels` };
  if (about) facts.Model = about;
  at("about").replaceChildren(
    ...Object.entries(facts).flatMap(([term, fact]) => [element("dt", term), element("dd", fact)]),
  );
  const fixed = told.target === "argmax" ? "each picture's top class" : `class ${told.target}`;
  at("classes-note").hidden = state.model.choosable;
  at("classes-note").textContent = `This file explains ${fixed} only. Exported with --target input, it explains any.`;
}

function showResult() {
  const { found, seen, model, picture } = state;
  if (!found) return;
  const style = styleChosen();
  const map = found.maps[state.layer];
  const shades = paint(at("canvas"), seen.canvas, map, style);
  legend(at("legend"), style, shades);
  at("legend-low").textContent = style.signed ? `against ${(-shades.top).toPrecision(3)}` : "0";
  at("legend-high").textContent = style.signed ? `for ${shades.top.toPrecision(3)}` : shades.top.toPrecision(3);
  at("legend").title = rangeOf(map);
  at("save").disabled = false;
  at("drop").classList.add("filled");
  found.maps.forEach(({ width, height }, i) => {
    at("layer").options[i].textContent = `${model.layers[i].name}, ${width} × ${height}`;
  });
  showClasses();
  const name = nameOf(found.target);
  const empty = emptiness(map, style.signed);
  const where = model.layers[state.layer].name === "input" ? "" : ` at ${model.layers[state.layer].name}`;
  at("status").textContent =
    `Why “${name}”${where}: ${map.width} × ${map.height} map in ${Math.max(1, Math.round(found.milliseconds))} ms` +
    (empty && `. There is nothing to see: ${empty}.`);
  at("canvas").setAttribute("aria-label", `${picture.name}, with what speaks for ${name} marked in colour`);
}

/** The raw map's smallest and largest value. */
function rangeOf({ data }) {
  const [low, high] = data.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  return `map ${low.toPrecision(3)} to ${high.toPrecision(3)}`;
}

function showClasses() {
  const { found, model } = state;
  const shares = probabilities(found.scores);
  const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, TOP);
  if (!order.includes(found.target)) order.splice(-1, 1, found.target);
  const focused = document.activeElement?.closest("#classes button")?.dataset.class;
  at("classes").replaceChildren(
    ...order.map((index) => {
      const button = element("button");
      button.type = "button";
      button.dataset.class = index;
      button.disabled = !model.choosable && index !== found.target;
      button.setAttribute("aria-pressed", String(index === found.target));
      const bar = element("span", "", "bar");
      bar.append(element("span"));
      const share = element("span", percent(shares[index]), "share");
      button.append(element("span", nameOf(index), "name"), bar, share);
      bar.firstChild.style.setProperty("inline-size", `${100 * shares[index]}%`);
      const item = element("li");
      item.append(button);
      return item;
    }),
  );
  if (focused) at("classes").querySelector(`[data-class="${focused}"]`)?.focus();
}

function styleChosen() {
  const signed = document.querySelector('input[name="sign"]:checked').value === "signed";
  return {
    signed,
    palette: state.palettes[signed ? "signed" : "positive"][at("colors").value],
    opacity: at("opacity").value / 100,
  };
}

function showColors() {
  const signed = document.querySelector('input[name="sign"]:checked').value === "signed";
  const names = Object.keys(state.palettes[signed ? "signed" : "positive"]);
  at("colors").replaceChildren(...names.map((name) => new Option(name, name)));
}

/** Return shares that add up to 1: softmax of logits, or the scores where they are that already. */
function probabilities(scores) {
  const total = scores.reduce((a, b) => a + b, 0);
  if (scores.every((s) => s >= 0) && Math.abs(total - 1) < 1e-3) return scores;
  const largest = scores.reduce((a, b) => Math.max(a, b));
  const raised = scores.map((s) => Math.exp(s - largest));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((r) => r / sum);
}

const nameOf = (index) => state.labels[index] ?? `class ${index}`;

const percent = (share) =>
  share >= 0.0995 ? `${Math.round(100 * share)} %` : share >= 0.001 ? `${(100 * share).toFixed(1)} %` : "< 0.1 %";

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function save() {
  const { picture, found } = state;
  at("canvas").toBlob((blob) => {
    const link = element("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${picture.name.replace(/\.\w+$/, "")}.${nameOf(found.target)}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
}

// ---- what the user does

at("picture").addEventListener("change", (event) => useFiles(event.target.files));
at("own").addEventListener("change", (event) => useFiles(event.target.files));
at("model").addEventListener("change", () => enqueue(() => useBundled(state.models[at("model").value])));
at("layer").addEventListener("change", () => {
  state.layer = Number(at("layer").value);
  showResult();
});
at("classes").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  state.target = Number(button.dataset.class);
  enqueue(explain);
});
for (const input of document.querySelectorAll('input[name="sign"]')) {
  input.addEventListener("change", () => {
    showColors();
    showResult();
  });
}
at("colors").addEventListener("change", showResult);
at("opacity").addEventListener("input", () => {
  at("opacity-value").textContent = `${at("opacity").value} %`;
  showResult();
});
at("save").addEventListener("click", save);
at("samples").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) enqueue(() => useSample(button.dataset.name));
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) useFiles(event.clipboardData.files);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) useFiles(event.dataTransfer.files);
});

enqueue(async () => {
  const answer = await fetch(`${FILES}index.json`);
  if (!answer.ok) throw new FileError("The bundled files are not here: run make web.");
  const { models, pictures, palettes } = await answer.json();
  Object.assign(state, { models, palettes });
  showColors();
  at("model").replaceChildren(...models.map(({ title }, i) => new Option(title, i)));
  at("samples").replaceChildren(
    ...pictures.map((name) => {
      const image = element("img");
      Object.assign(image, { src: FILES + name, alt: name.replace(/\.\w+$/, ""), width: 96, height: 96 });
      const button = element("button");
      Object.assign(button, { type: "button", title: image.alt });
      button.dataset.name = name;
      button.setAttribute("aria-pressed", "false");
      button.append(image);
      const item = element("li");
      item.append(button);
      return item;
    }),
  );
  await useBundled(models[0]);
  await useSample(pictures.at(-1));
});
