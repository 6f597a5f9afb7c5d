/** The page: what is chosen, and what follows from it. */

import { classNamed, difference, likeliest, percent, probabilities } from "./classes.js";
import { Explained, FileError } from "./explained.js";
import { PictureError, decode, fitted } from "./picture.js";
import { captioned, fillSheet, make } from "./report.js";
import { question, showColors, showModel, showResult } from "./show.js";
import { at, nameOf, state } from "./state.js";

const FILES = "files/";

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
async function useModel(bytes, name, about) {
  at("status").textContent = `Opening ${name}…`;
  const model = await Explained.load(bytes, name).catch((error) => {
    showResult();
    throw error;
  });
  await state.model?.release();
  Object.assign(state, { model, about, labels: about.labels ?? [], target: null, layer: 0 });
  compare(null);
  showModel();
  await explain();
}

/** Return the bytes behind a name, saying how far it is. */
async function fetched(name, title) {
  const answer = await fetch(FILES + name);
  if (!answer.ok) throw new FileError(`${title} is not here (${answer.status}): write the page again.`);
  const total = Number(answer.headers.get("Content-Length")) || 0;
  const parts = [];
  let size = 0;
  for (let reader = answer.body.getReader(), part; !(part = await reader.read()).done; ) {
    parts.push(part.value);
    size += part.value.length;
    const of = total ? ` of ${(total / 2 ** 20).toFixed(1)}` : "";
    at("status").textContent = `Loading ${title}: ${(size / 2 ** 20).toFixed(1)}${of} MiB…`;
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function useOffered(row) {
  await useModel(await fetched(row.file, row.title), row.title, row);
}

/** @param {Blob} blob */
async function usePicture(blob, name, file = "") {
  const bitmap = await decode(blob, name);
  Object.assign(state, { picture: { bitmap, name }, target: null });
  compare(null);
  for (const button of at("samples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.file === file));
  }
  await explain();
}

async function useSample(file, name) {
  const answer = await fetch(FILES + file);
  if (!answer.ok) throw new PictureError(`${name} is not here (${answer.status}): write the page again.`);
  await usePicture(await answer.blob(), name, file);
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
      at("model").querySelector("[value=own]")?.remove();
      at("model").append(new Option(`Your file: ${model.name}`, "own", false, true));
      at("model").lastChild.disabled = true;
    } else if (labels) {
      const before = state.labels;
      state.labels = labels;
      try {
        showResult();
      } catch (error) {
        state.labels = before;
        showResult();
        throw error;
      }
    }
    if (picture) await usePicture(picture, picture.name || "the picture");
  });
}

async function explain() {
  const { model, picture } = state;
  if (!model || !picture) return;
  state.seen = fitted(picture.bitmap, model, model.told.preprocess);
  const found = await model.run(state.seen.pixels, state.target);
  state.found =
    state.against === null ? found : difference(found, await model.run(state.seen.pixels, state.against));
  showResult();
  document.dispatchEvent(new CustomEvent("explained", { detail: { ...state.found, pixels: state.seen.pixels } }));
}

// ---- what leaves the page

function withLegend() {
  const { about, model, picture } = state;
  const lines = [`${question()} · ${picture.name}`, `${model.told.method} of ${about.model || model.name}`, ...(about.notes ?? [])];
  const [low, high] = [at("legend-low").textContent, at("legend-high").textContent];
  return captioned(at("canvas"), at("legend"), { low, high, lines });
}

function save() {
  const { picture, found } = state;
  withLegend().toBlob((blob) => {
    const link = make("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${picture.name.replace(/\.\w+$/, "")}.${nameOf(found.target)}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
}

function fillReport() {
  const { about, found, model, picture, seen, title, versions } = state;
  if (!found) return;
  const shares = probabilities(found.scores);
  const { resize, crop_share: share } = model.told.preprocess ?? {};
  const facts = {
    Picture: `${picture.name}, ${picture.bitmap.width} × ${picture.bitmap.height}`,
    Model: about.model || model.name,
    "SHA-256 of the model": about.sha256 || "not known",
    Method: about.what ? `${model.told.method}: ${about.what} (${about.source})` : model.told.method,
    Layer: model.layers[state.layer].name,
    "Fitted by": `${resize ?? "stretch"}${resize === "crop" && share < 1 ? `, ${share} of it` : ""}, to ${model.width} × ${model.height}`,
    "Largest value of the scale": at("legend-high").textContent,
    Versions: Object.entries(versions).map((pair) => pair.join(" ")).join(", "),
    Date: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
  };
  const sentences = [at("meaning").textContent, at("doubt").textContent, at("notes").textContent];
  fillSheet(at("report"), {
    title,
    question: question(),
    seen: seen.canvas,
    shown: withLegend(),
    classes: likeliest(shares, found.target, state.against).map((i) => [nameOf(i), percent(shares[i])]),
    facts,
    sentences: sentences.filter(Boolean),
  });
}

// ---- what the user does

/** Explain the class that a field names, or say that none is meant. */
function asked(field, use) {
  at(field).addEventListener("change", () => {
    const text = at(field).value;
    const index = classNamed(text, state.labels, state.found?.scores.length ?? 0);
    if (text.trim() && index === null) {
      tell(`“${text}” is no class of this model, or a part of several names.`);
      return;
    }
    use(index);
    enqueue(explain);
  });
}

/** Compare with a class, which shows both ways; or with none, which shows as before. */
function compare(index) {
  if (index === null) for (const field of ["search", "against"]) at(field).value = "";
  if ((index === null) === (state.against === null)) return void (state.against = index);
  state.against = index;
  document.querySelector(`input[name="sign"][value="${index === null ? "positive" : "signed"}"]`).checked = true;
  showColors();
}

asked("search", (index) => {
  state.target = index;
});
asked("against", (index) => {
  state.target = state.found.target;
  compare(index === state.target ? null : index);
});
for (const field of ["picture", "camera", "own"]) {
  at(field).addEventListener("change", (event) => useFiles(event.target.files));
}
at("model").addEventListener("change", () => enqueue(() => useOffered(state.models[at("model").value])));
at("layer").addEventListener("change", () => {
  state.layer = Number(at("layer").value);
  showResult();
});
at("classes").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  state.target = Number(button.dataset.class);
  if (state.target === state.against) compare(null);
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
at("print").addEventListener("click", () => window.print());
window.addEventListener("beforeprint", fillReport);
at("samples").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) enqueue(() => useSample(button.dataset.file, button.title));
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
  const answer = await fetch("index.json");
  if (!answer.ok) throw new FileError("The page is not whole: write it again with fgcam page.");
  const { title, models, pictures, palettes, versions } = await answer.json();
  Object.assign(state, { title, models, palettes, versions });
  at("title").textContent = document.title = title;
  showColors();
  at("model").replaceChildren(...models.map((row, i) => new Option(row.title, i)));
  at("samples").replaceChildren(
    ...pictures.map(({ file, name }) => {
      const image = make("img");
      Object.assign(image, { src: FILES + file, alt: name, width: 96, height: 96, loading: "lazy" });
      const button = make("button");
      Object.assign(button, { type: "button", title: name });
      button.dataset.file = file;
      button.setAttribute("aria-pressed", "false");
      button.append(image);
      const item = make("li");
      item.append(button);
      return item;
    }),
  );
  await useOffered(models[0]);
  if (pictures.length) await useSample(pictures.at(-1).file, pictures.at(-1).name);
  else at("status").textContent = "Choose a picture, drop or paste one.";
});
