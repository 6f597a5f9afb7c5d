/**
 * Runs exported files in any flavour of ONNX Runtime's JavaScript API. Shared by Node and the browser.
 *
 * @typedef {object} Feed an input: raw little-endian bytes in a file, and what they are
 * @property {string} name
 * @property {"float32" | "int64" | "uint8"} type
 * @property {number[]} dims
 * @property {string} file
 *
 * @typedef {object} Run one call of a session
 * @property {string} id
 * @property {Feed[]} feeds
 *
 * @typedef {object} Case an exported file, and the calls to make of it
 * @property {string} id
 * @property {string} model
 * @property {string[]} outputs
 * @property {Run[]} runs
 */

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, uint8: Uint8Array };

/**
 * Run every case, and hand each output on.
 *
 * @param {typeof import("onnxruntime-common")} ort
 * @param {Case[]} cases
 * @param {object} io
 * @param {(file: string) => Promise<Uint8Array>} io.read
 * @param {(file: string, bytes: Uint8Array) => Promise<void>} io.write gets `<run>.<i>.bin` for each output
 * @param {object} [options] of the session
 * @returns {Promise<Record<string, string>>} what failed: a message for each case
 */
export async function runCases(ort, cases, { read, write }, options = {}) {
  const failures = {};
  for (const { id, model, outputs, runs } of cases) {
    try {
      const session = await ort.InferenceSession.create(await read(model), options);
      for (const run of runs) {
        const feeds = {};
        for (const { name, type, dims, file } of run.feeds) {
          const bytes = await read(file);
          feeds[name] = new ort.Tensor(type, new ARRAYS[type](bytes.slice().buffer), dims);
        }
        const found = await session.run(feeds, outputs);
        for (const [i, name] of outputs.entries()) {
          const { data } = found[name];
          await write(`${run.id}.${i}.bin`, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
        }
      }
      await session.release();
    } catch (error) {
      failures[id] = String(error?.message ?? error);
    }
  }
  return failures;
}
