/**
 * Draws a map over a picture, as the package's imaging/shading.py and imaging/overlay.py do.
 *
 * @typedef {number[][]} Palette colours from low to high, each [red, green, blue] from 0 to 255
 *
 * @typedef {object} Size
 * @property {number} width
 * @property {number} height
 *
 * @typedef {object} Style
 * @property {Palette} palette from 0 to the largest value; signed: from the most negative to the most positive
 * @property {boolean} signed
 * @property {number} opacity from 0 to 1: from the picture alone to the strongest map
 * @property {number} [clip] per cent of the non-zero values that the colours end above
 * @property {number | null} [smooth] Gaussian in pixels of what the model saw; null: 1/224 of its side for fine maps
 * @property {number | null} [gamma] power of the shares that colours show; null: 0.5 for fine maps, else 1
 *
 * @typedef {object} Shades
 * @property {Float32Array} shares from 0, or -1, to 1, of the size that the model saw
 * @property {number} width
 * @property {number} height
 * @property {number} top the value that a share of 1 stands for
 * @property {number} gamma
 */

/** Brightness of the grey that the picture is dimmed to. */
const SEEN = 0.6;

/**
 * Bring a map to shares of a colour scale.
 *
 * @param {import("./explained.js").HeatMap} map
 * @param {Size} view what the model saw
 * @param {Style} style
 * @returns {Shades}
 */
export function shaded(map, view, { signed, clip = 99.5, smooth = null, gamma = null }) {
  const fine = 2 * map.height > view.height && 2 * map.width > view.width;
  const sigma = smooth ?? (fine ? Math.min(view.width, view.height) / 224 : 0);
  const spread = gaussian(widened(map.data, map, view), view, sigma);
  const ways = signed ? spread : spread.map((value) => Math.max(value, 0));
  const top = percentile(
    ways.map(Math.abs).filter((value) => value > 0),
    clip,
  );
  const shares = ways.map((value) => (top > 0 ? Math.max(-1, Math.min(1, value / top)) : 0));
  return { shares, width: view.width, height: view.height, top, gamma: gamma ?? (fine ? 0.5 : 1) };
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
 * Lay a map over pixels of the picture.
 *
 * @param {Uint8ClampedArray} pixels red, green, blue and opacity of each; changed in place
 * @param {Size} size
 * @param {Shades} shades
 * @param {Style} style
 */
export function lay(pixels, size, shades, { palette, signed, opacity: alpha }) {
  const shares = widened(shades.shares, shades, size);
  const most = 1 - (1 - alpha) ** 2;
  for (let i = 0, p = 0; i < shares.length; i++, p += 4) {
    const strength = Math.min(1, Math.abs(shares[i])) ** shades.gamma;
    const opacity = most * Math.min(1, 1.25 * Math.sqrt(strength));
    const way = Math.sign(shares[i]) * strength;
    const over = color(palette, signed ? (way + 1) / 2 : way);
    const grey = 0.299 * pixels[p] + 0.587 * pixels[p + 1] + 0.114 * pixels[p + 2];
    for (let c = 0; c < 3; c++) {
      const ground = (1 - alpha) * pixels[p + c] + alpha * SEEN * grey;
      pixels[p + c] = Math.round((1 - opacity) * ground + opacity * over[c]);
    }
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLCanvasElement} picture what the model saw
 * @param {import("./explained.js").HeatMap} map
 * @param {Style} style
 * @returns {Shades}
 */
export function paint(canvas, picture, map, style) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  canvas.height = Math.round((canvas.width * picture.height) / picture.width);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const shades = shaded(map, picture, style);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  lay(image.data, canvas, shades, style);
  context.putImageData(image, 0, 0);
  return shades;
}

/**
 * Draw the colour scale, linear in the map's values.
 *
 * @param {HTMLCanvasElement} canvas one pixel high
 * @param {Style} style
 * @param {Shades} shades
 */
export function legend(canvas, style, { gamma }) {
  const image = new ImageData(canvas.width, 1);
  for (let i = 0; i < canvas.width; i++) {
    const share = i / (canvas.width - 1);
    const way = style.signed ? 2 * share - 1 : share;
    const strength = Math.sign(way) * Math.abs(way) ** gamma;
    const [r, g, b] = color(style.palette, style.signed ? (strength + 1) / 2 : strength);
    image.data.set([r, g, b, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function color(palette, at) {
  return palette[Math.max(0, Math.min(palette.length - 1, Math.round(at * (palette.length - 1))))];
}

/** The value that `share` per cent of the values stay under, between neighbours linearly; 0 where there is none. */
function percentile(values, share) {
  const sorted = Float64Array.from(values).sort();
  if (!sorted.length) return 0;
  const at = ((sorted.length - 1) * share) / 100;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}

/** Smooth by a Gaussian of deviation `sigma` pixels, mirrored at the edges. */
function gaussian(data, { width, height }, sigma) {
  if (sigma <= 0) return data;
  const radius = Math.max(1, Math.round(4 * sigma));
  const weights = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-0.5 * ((i - radius) / sigma) ** 2));
  const total = weights.reduce((a, b) => a + b);
  const along = (from, length, others, step, stride) => {
    const out = new Float64Array(from.length);
    for (let o = 0; o < others; o++) {
      for (let i = 0; i < length; i++) {
        let sum = 0;
        for (let k = -radius; k <= radius; k++) sum += weights[k + radius] * from[mirrored(i + k, length) * step + o * stride];
        out[i * step + o * stride] = sum / total;
      }
    }
    return out;
  };
  return along(along(data, height, width, width, 1), width, height, 1, width);
}

function mirrored(i, length) {
  const at = ((i % (2 * length)) + 2 * length) % (2 * length);
  return at < length ? at : 2 * length - 1 - at;
}

/** Resize bilinearly, pixel centres at half steps, the edge repeated; averaging where it becomes smaller. */
function widened(data, { width, height }, size) {
  const columns = steps(width, size.width);
  const rows = steps(height, size.height);
  const wide = new Float64Array(height * size.width);
  for (let y = 0; y < height; y++) {
    columns.forEach((taps, x) => {
      for (const [at, weight] of taps) wide[y * size.width + x] += weight * data[y * width + at];
    });
  }
  const out = new Float64Array(size.height * size.width);
  rows.forEach((taps, y) => {
    for (const [at, weight] of taps) {
      for (let x = 0; x < size.width; x++) out[y * size.width + x] += weight * wide[at * size.width + x];
    }
  });
  return out;
}

/** For each pixel of the result, which of the data it is made of, and how much: a triangle around its centre. */
function steps(size, out) {
  const scale = size / out;
  const support = Math.max(1, scale);
  return Array.from({ length: out }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const taps = [];
    let total = 0;
    for (let at = Math.max(0, Math.floor(centre - support)); at < Math.min(size, Math.ceil(centre + support)); at++) {
      const weight = 1 - Math.abs(at + 0.5 - centre) / support;
      if (weight > 0) {
        taps.push([at, weight]);
        total += weight;
      }
    }
    return taps.map(([at, weight]) => [at, weight / total]);
  });
}
