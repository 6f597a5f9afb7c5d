/** What is chosen and found, and its words. */

export const at = (id) => document.getElementById(id);

export const state = {
  title: "",
  versions: {},
  /** @type {{title: string, file: string, method: string, what: string, source: string, labels: string[],
   *   model: string, sha256: string, notes: string[]}[]} */
  models: [],
  /** @type {Record<string, number[][]>} */
  palettes: {},
  /** @type {string[]} */
  labels: [],
  /** @type {Explained | null} */
  model: null,
  /** What is known of the model beside its file: a row of `models`. */
  about: {},
  /** @type {{bitmap: ImageBitmap, name: string} | null} */
  picture: null,
  /** @type {{canvas: HTMLCanvasElement, pixels: Uint8Array} | null} */
  seen: null,
  /** @type {number | null} null for the top class */
  target: null,
  /** @type {number | null} the class that it is compared with */
  against: null,
  /** @type {import("./explained.js").Explanation | null} */
  found: null,
  layer: 0,
};

/** The name of a class. */
export const nameOf = (index) => state.labels[index] ?? `class ${index}`;
