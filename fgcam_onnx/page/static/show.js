/** Draws what is found, and says what it means. */

import { doubt, likeliest, percent, probabilities } from "./classes.js";
import { FileError } from "./explained.js";
import { emptiness, legend, paint } from "./paint.js";
import { make } from "./report.js";
import { at, nameOf, state } from "./state.js";

export function showModel() {
  const { told, layers, width, height, choosable } = state.model;
  const { model, what, source, notes } = state.about;
  at("layer").replaceChildren(...layers.map(({ name }, i) => new Option(name, i)));
  at("layer").disabled = layers.length < 2;
  const base = told.options?.base ? `${told.method}, from ${told.options.base}` : told.method;
  const facts = { Method: base, "Made from": model || (told.source ?? "a model in memory"), Input: `${width} × ${height} pixels` };
  at("about").replaceChildren(...Object.entries(facts).flatMap(([term, fact]) => [make("dt", term), make("dd", fact)]));
  at("method-note").textContent = what ? `${told.method}: ${what} (${source}).` : "";
  at("notes").textContent = (notes ?? []).join("; ");
  at("notes").hidden = !notes?.length;
  at("asking").hidden = !choosable;
  const fixed = told.target === "argmax" ? "each picture's top class" : `class ${told.target}`;
  at("classes-note").hidden = choosable;
  at("classes-note").textContent = `This file explains ${fixed} only. Exported with --target input, it explains any.`;
}

export function showResult() {
  const { found, seen, model, picture } = state;
  if (!found) return;
  checkLabels();
  const style = styleChosen();
  const map = found.maps[state.layer];
  const shades = paint(at("canvas"), seen.canvas, map, style);
  legend(at("legend"), style, shades);
  const top = shades.top.toPrecision(3);
  at("legend-low").textContent = style.signed ? `against ${(-shades.top).toPrecision(3)}` : "0";
  at("legend-high").textContent = style.signed ? `for ${top}` : top;
  at("legend").title = rangeOf(map);
  for (const button of ["save", "print"]) at(button).disabled = false;
  at("drop").classList.add("filled");
  found.maps.forEach(({ width, height }, i) => {
    at("layer").options[i].textContent = `${model.layers[i].name}, ${width} × ${height}`;
  });
  showClasses();
  const empty = emptiness(map, style.signed);
  at("status").textContent =
    `${question()}: ${map.width} × ${map.height} map in ${Math.max(1, Math.round(found.milliseconds))} ms` +
    (empty && `. There is nothing to see: ${empty}.`);
  at("meaning").textContent = meaning(style.signed);
  at("layer-note").textContent = layerMeaning();
  const shares = probabilities(found.scores);
  at("doubt").textContent = doubt(shares, nameOf(likeliest(shares)[0]));
  at("doubt").hidden = !at("doubt").textContent;
  at("canvas").setAttribute("aria-label", `${picture.name}, with what answers ${question()} marked in colour`);
}

export function question() {
  const layer = state.model.layers[state.layer].name;
  const where = layer === "input" ? "" : ` at ${layer}`;
  const rather = state.against === null ? "" : ` and not “${nameOf(state.against)}”`;
  return `Why “${nameOf(state.found.target)}”${rather}${where}`;
}

/** What the colours mean, and what they do not. */
function meaning(signed) {
  const name = nameOf(state.found.target);
  const other = state.against === null ? "" : ` and against “${nameOf(state.against)}”`;
  const marks = signed
    ? `The right end of the scale marks what speaks for “${name}”${other}, the left end what speaks the other way`
    : `Colour marks what speaks for “${name}”${other}`;
  return `${marks}; the stronger, the more. It says where the model looked, not whether it is right.`;
}

function layerMeaning() {
  const { name } = state.model.layers[state.layer];
  const { width, height } = state.found.maps[state.layer];
  if (name === "input") return "At the input each pixel has a value of its own.";
  return `At ${name} the model sees the picture as ${width} × ${height} places: the fewer, the nearer to its decision.`;
}

function checkLabels() {
  const { labels, found } = state;
  if (labels.length && labels.length !== found.scores.length) {
    state.labels = [];
    showResult();
    throw new FileError(`There are ${labels.length} class names, but the model has ${found.scores.length} classes.`);
  }
}

/** The raw map's smallest and largest value. */
function rangeOf({ data }) {
  const [low, high] = data.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  return `map ${low.toPrecision(3)} to ${high.toPrecision(3)}`;
}

function showClasses() {
  const { found, model, labels } = state;
  const shares = probabilities(found.scores);
  const focused = document.activeElement?.closest("#classes button")?.dataset.class;
  at("classes").replaceChildren(
    ...likeliest(shares, found.target, state.against).map((index) => {
      const button = make("button");
      button.type = "button";
      button.dataset.class = index;
      button.disabled = !model.choosable && index !== found.target;
      button.setAttribute("aria-pressed", String(index === found.target));
      const bar = make("span", "", "bar");
      bar.append(make("span"));
      const share = make("span", percent(shares[index]), "share");
      button.append(make("span", nameOf(index), "name"), bar, share);
      bar.firstChild.style.setProperty("inline-size", `${100 * shares[index]}%`);
      const item = make("li");
      item.append(button);
      return item;
    }),
  );
  if (focused) at("classes").querySelector(`[data-class="${focused}"]`)?.focus();
  if (at("names").childElementCount !== labels.length) {
    at("names").replaceChildren(...labels.map((label) => Object.assign(make("option"), { value: label })));
  }
}

function styleChosen() {
  const signed = document.querySelector('input[name="sign"]:checked').value === "signed";
  return {
    signed,
    palette: state.palettes[signed ? "signed" : "positive"][at("colors").value],
    opacity: at("opacity").value / 100,
  };
}

export function showColors() {
  const signed = document.querySelector('input[name="sign"]:checked').value === "signed";
  const names = Object.keys(state.palettes[signed ? "signed" : "positive"]);
  at("colors").replaceChildren(...names.map((name) => new Option(name, name)));
}
