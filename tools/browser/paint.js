/**
 * Draws a map over a picture.
 *
 * @typedef {number[][]} Palette colours from low to high, each [red, green, blue] from 0 to 255
 *
 * @typedef {object} Style
 * @property {Palette} palette from 0 to the largest value; signed: from the most negative to the most positive
 * @property {boolean} signed
 * @property {number} opacity from 0 to 1
 */

/** Share of its colour that the picture loses under an opaque map. */
const FADED = 0.85;

/** Values from this share of the largest on are as opaque as chosen; below, less and less. */
const SOLID = 0.3;

/**
 * Scale a map for display: positive part over its largest value, or signed over the largest magnitude.
 *
 * @param {import("./explained.js").HeatMap} map
 * @param {boolean} signed
 * @returns {Float32Array} from 0, or -1, to 1
 */
export function scaled({ data }, signed) {
  let largest = 0;
  for (const value of data) largest = Math.max(largest, signed ? Math.abs(value) : value);
  const by = largest > 0 ? 1 / largest : 0;
  return data.map((value) => (signed ? value : Math.max(value, 0)) * by);
}

/**
 * Say of a map that shows nothing why; nothing of one that does.
 *
 * @param {import("./explained.js").HeatMap} map
 * @param {boolean} signed
 * @returns {string}
 */
export function emptiness({ data }, signed) {
  if (data.every((value) => value === 0)) return "the map is zero everywhere";
  return signed || data.some((value) => value > 0) ? "" : "nothing in the map is positive";
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLCanvasElement} picture
 * @param {import("./explained.js").HeatMap} map
 * @param {Style} style
 */
export function paint(canvas, picture, map, style) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  canvas.height = Math.round((canvas.width * picture.height) / picture.width);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (!style.opacity) return;
  fade(context, FADED * style.opacity);
  const over = widened(scaled(map, style.signed), map, canvas);
  const image = new ImageData(canvas.width, canvas.height);
  for (let i = 0; i < over.length; i++) image.data.set(shade(over[i], style), 4 * i);
  const layer = document.createElement("canvas");
  Object.assign(layer, { width: canvas.width, height: canvas.height });
  layer.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(layer, 0, 0);
}

/** Take colour from the picture, so that the map's colours stand out. */
function fade(context, share) {
  const image = context.getImageData(0, 0, context.canvas.width, context.canvas.height);
  const { data } = image;
  for (let i = 0; i < data.length; i += 4) {
    const grey = 0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];
    for (let c = i; c < i + 3; c++) data[c] += (grey - data[c]) * share;
  }
  context.putImageData(image, 0, 0);
}

/**
 * @param {HTMLCanvasElement} canvas one pixel high
 * @param {Style} style
 */
export function legend(canvas, style) {
  const image = new ImageData(canvas.width, 1);
  for (let i = 0; i < canvas.width; i++) {
    const at = i / (canvas.width - 1);
    const [r, g, b] = color(style.palette, at);
    image.data.set([r, g, b, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The colour of a value, clear where it is near 0: what is not evidence does not hide the picture. */
function shade(value, { palette, signed, opacity }) {
  const [r, g, b] = color(palette, signed ? (value + 1) / 2 : value);
  return [r, g, b, 255 * opacity * Math.min(1, Math.abs(value) / SOLID)];
}

function color(palette, at) {
  return palette[Math.max(0, Math.min(palette.length - 1, Math.round(at * (palette.length - 1))))];
}

/** Widen bilinearly, pixel centres at half steps, the edge repeated beyond it; values, not colours, are mixed. */
function widened(data, { width, height }, canvas) {
  const columns = steps(width, canvas.width);
  const rows = steps(height, canvas.height);
  const out = new Float32Array(canvas.width * canvas.height);
  let o = 0;
  for (const [y0, y1, ty] of rows) {
    for (const [x0, x1, tx] of columns) {
      const top = data[y0 * width + x0] * (1 - tx) + data[y0 * width + x1] * tx;
      const bottom = data[y1 * width + x0] * (1 - tx) + data[y1 * width + x1] * tx;
      out[o++] = top * (1 - ty) + bottom * ty;
    }
  }
  return out;
}

function steps(size, out) {
  return Array.from({ length: out }, (_, i) => {
    const at = Math.max(0, Math.min(size - 1, ((i + 0.5) * size) / out - 0.5));
    const low = Math.floor(at);
    return [low, Math.min(low + 1, size - 1), at - low];
  });
}
