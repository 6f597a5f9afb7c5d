/** The viewer's face: four choices and a picture. Maps are computed in Python when a choice changes. */

function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function labelled(text, control) {
  return made("label", {}, made("span", {}, text), control);
}

function filled(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => made("option", { value }, text)));
  select.value = chosen;
}

function render({ model, el }) {
  const [target, layer, method] = ["target", "layer", "method"].map((name) => made("select", { name }));
  const opacity = made("input", { type: "range", name: "opacity", min: "0", max: "1", step: "0.05" });
  const signed = made("input", { type: "checkbox", name: "signed" });
  const picture = made("img", { alt: "the picture", class: "picture" });
  const heat = made("img", { alt: "", class: "heat" });
  const told = made("p", { class: "told", "aria-live": "polite" });
  const bar = made("div", { class: "bar" });
  const [low, high] = [made("span"), made("span")];
  const ends = made("div", { class: "ends" }, low, high);
  const said = made("p", { class: "said", role: "alert" });
  const root = made(
    "div",
    { class: "fgcam-viewer" },
    made(
      "form",
      {},
      labelled("class", target),
      labelled("layer", layer),
      labelled("method", method),
      labelled("opacity", opacity),
      labelled("for and against", signed),
    ),
    made("div", { class: "over" }, picture, heat),
    bar,
    ends,
    told,
    said,
  );
  root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());

  const names = (list) => list.map((name) => [name, name]);
  const draw = {
    picture: () => (picture.src = model.get("picture")),
    targets: () => filled(target, model.get("targets"), model.get("target")),
    layers: () => filled(layer, names(model.get("layers")), model.get("layer")),
    methods: () => filled(method, names(model.get("methods")), model.get("method")),
    target: () => (target.value = model.get("target")),
    layer: () => (layer.value = model.get("layer")),
    method: () => (method.value = model.get("method")),
    signed: () => (signed.checked = model.get("signed")),
    opacity: () => {
      opacity.value = String(model.get("opacity"));
      heat.style.opacity = String(model.get("opacity"));
    },
    shown: () => {
      const { heat: address, told: text, scale, note, error } = model.get("shown");
      heat.hidden = !address;
      if (address) heat.src = address;
      heat.alt = text ? `the map of ${text}` : "";
      told.textContent = text;
      bar.style.background = scale.stops ? `linear-gradient(to right, ${scale.stops})` : "none";
      low.textContent = scale.low ?? "";
      high.textContent = scale.high ?? "";
      said.textContent = [error, note && `map: ${note}`, ...model.get("notes")].filter(Boolean).join(" · ");
      root.removeAttribute("aria-busy");
    },
  };
  const choose = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const ask = (name, value) => {
    root.setAttribute("aria-busy", "true");
    choose(name, value);
  };
  target.addEventListener("change", () => ask("target", target.value));
  layer.addEventListener("change", () => ask("layer", layer.value));
  method.addEventListener("change", () => ask("method", method.value));
  signed.addEventListener("change", () => ask("signed", signed.checked));
  opacity.addEventListener("input", () => {
    heat.style.opacity = opacity.value;
    choose("opacity", Number(opacity.value));
  });
  for (const [name, action] of Object.entries(draw)) {
    action();
    model.on(`change:${name}`, action);
  }
  el.append(root);
  return () => {
    for (const [name, action] of Object.entries(draw)) model.off(`change:${name}`, action);
  };
}

export default { render };
