/** What leaves the page: a picture with its legend, and a sheet to print. */

const MARGIN = 16;
const LINE = 22;

/**
 * Put the legend and what is shown under a picture.
 *
 * @param {HTMLCanvasElement} picture
 * @param {HTMLCanvasElement} legend
 * @param {{low: string, high: string, lines: string[]}} words
 * @returns {HTMLCanvasElement}
 */
export function captioned(picture, legend, { low, high, lines }) {
  const made = document.createElement("canvas");
  made.width = picture.width;
  made.height = picture.height + 2 * MARGIN + LINE * (lines.length + 1);
  const context = made.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, made.width, made.height);
  context.drawImage(picture, 0, 0);
  context.fillStyle = "black";
  context.font = "15px system-ui, sans-serif";
  context.textBaseline = "middle";
  const at = picture.height + MARGIN + LINE / 2;
  const [before, after] = [context.measureText(low).width, context.measureText(high).width];
  context.fillText(low, MARGIN, at);
  context.fillText(high, made.width - MARGIN - after, at);
  const width = Math.max(0, made.width - before - after - 4 * MARGIN);
  context.drawImage(legend, before + 2 * MARGIN, at - 6, width, 12);
  lines.forEach((line, n) => context.fillText(line, MARGIN, at + LINE * (n + 1), made.width - 2 * MARGIN));
  return made;
}

/**
 * Fill the sheet that is printed.
 *
 * @param {HTMLElement} sheet
 * @param {object} told
 * @param {string} told.title
 * @param {string} told.question
 * @param {HTMLCanvasElement} told.seen what the model saw
 * @param {HTMLCanvasElement} told.shown the same under the map, with its legend
 * @param {[string, string][]} told.classes names and shares
 * @param {Record<string, string>} told.facts
 * @param {string[]} told.sentences
 */
export function fillSheet(sheet, { title, question, seen, shown, classes, facts, sentences }) {
  const pair = make("div", "", "pair");
  for (const [canvas, caption] of [
    [seen, "What the model saw"],
    [shown, question],
  ]) {
    const figure = make("figure");
    const image = make("img");
    image.src = canvas.toDataURL("image/png");
    image.alt = caption;
    figure.append(image, make("figcaption", caption));
    pair.append(figure);
  }
  const table = make("table");
  for (const row of classes) {
    const line = make("tr");
    line.append(...row.map((cell) => make("td", cell)));
    table.append(line);
  }
  const about = make("dl", "", "about");
  about.append(...Object.entries(facts).flatMap(([term, fact]) => [make("dt", term), make("dd", fact)]));
  sheet.replaceChildren(make("h1", title), pair, table, ...sentences.map((s) => make("p", s, "note")), about);
}

export function make(tag, text = "", name = "") {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}
