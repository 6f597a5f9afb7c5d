/**
 * An exported file in a session: pixels in, scores and maps out.
 *
 * @typedef {object} Layer
 * @property {string} name as it was asked for when the file was written
 * @property {string} output
 *
 * @typedef {object} HeatMap raw and signed, as the file gives it
 * @property {Float32Array} data row by row
 * @property {number} width
 * @property {number} height
 *
 * @typedef {object} Explanation
 * @property {Float32Array} scores one for each class
 * @property {HeatMap[]} maps one for each layer
 * @property {number} target the class that is explained
 * @property {number} milliseconds
 */

import * as ort from "./runtime/ort.wasm.min.mjs";

import { readMetadata } from "./onnx.js";

ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const PIXELS = "pixels";
const TARGET = "target";
const TOP = -1n;

/** Says what is wrong with a file, and how to mend it. */
export class FileError extends Error {}

export class Explained {
  /**
   * @param {ort.InferenceSession} session
   * @param {Record<string, any>} told what the file says of itself
   * @param {string} name
   */
  constructor(session, told, name) {
    this.session = session;
    this.told = told;
    this.name = name;
    const { outputNames } = session;
    const ours = outputNames.filter((n) => /^(fgcam\/output\/)?explanation(\/|$)/.test(n));
    /** @type {Layer[]} */
    this.layers = told.layers.map((layer, i) => ({ name: layer, output: ours[i] }));
    this.targetOutput = outputNames.find((n) => n.endsWith("explanation_target"));
    this.scoresOutput = outputNames.find((n) => !n.includes("explanation"));
    /** Whether the class can be chosen; otherwise the file was written for one, or for the top one. */
    this.choosable = session.inputNames.includes(TARGET);
    const shape = session.inputMetadata.find((i) => i.name === PIXELS).shape;
    [, this.height, this.width] = shape.map(Number);
  }

  /**
   * Load a file that `fgcam export` wrote.
   *
   * @param {Uint8Array} bytes
   * @param {string} name
   * @returns {Promise<Explained>}
   * @throws {FileError}
   */
  static async load(bytes, name) {
    const told = describe(bytes, name);
    let session;
    try {
      session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    } catch (error) {
      throw new FileError(`${name} does not load: ${error.message}`);
    }
    if (!session.inputNames.includes(PIXELS)) {
      await session.release();
      throw new FileError(
        `${name} takes numbers that are prepared outside of it, not pixels. ` +
          "Export it again with --preprocess (imagenet, or how the model was trained).",
      );
    }
    return new Explained(session, told, name);
  }

  /**
   * @param {Uint8Array} pixels height x width x 3, RGB
   * @param {number | null} target a class, or null for the top one
   * @returns {Promise<Explanation>}
   */
  async run(pixels, target) {
    const feeds = { [PIXELS]: new ort.Tensor("uint8", pixels, [1, this.height, this.width, 3]) };
    if (this.choosable) {
      feeds[TARGET] = new ort.Tensor("int64", BigInt64Array.of(target === null ? TOP : BigInt(target)), [1]);
    }
    const start = performance.now();
    const found = await this.session.run(feeds);
    const milliseconds = performance.now() - start;
    const scores = Float32Array.from(found[this.scoresOutput].data, Number);
    const maps = this.layers.map(({ output }) => {
      const { data, dims } = found[output];
      return { data: Float32Array.from(data), height: dims[1], width: dims[2] };
    });
    return { scores, maps, target: Number(found[this.targetOutput].data[0]), milliseconds };
  }

  /** Free the session's memory. */
  release() {
    return this.session.release();
  }
}

/** Return what the file says of itself, and refuse one that no `fgcam export` wrote. */
function describe(bytes, name) {
  let metadata;
  try {
    metadata = readMetadata(bytes);
  } catch (error) {
    throw new FileError(`${name} is not an ONNX file: it ${error.message}.`);
  }
  if (!metadata.has("fgcam.method")) {
    throw new FileError(
      `${name} has no explanation inside. Make one with: ` +
        `fgcam export ${name} -o explained.onnx --target input --preprocess imagenet`,
    );
  }
  const told = {};
  for (const [key, value] of metadata) if (key.startsWith("fgcam.")) told[key.slice("fgcam.".length)] = value;
  for (const key of ["layers", "options", "preprocess"]) told[key] = told[key] ? JSON.parse(told[key]) : null;
  return told;
}
