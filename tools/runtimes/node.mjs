/** Run the exported files in Node: `node node.mjs CASES.json CASES_FOLDER OUT_FOLDER`. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import ort from "onnxruntime-node";

import { runCases } from "./cases.mjs";

const [list, folder, out] = process.argv.slice(2);
const cases = JSON.parse(await readFile(join(folder, list), "utf8"));
const failures = await runCases(
  ort,
  cases,
  {
    read: (file) => readFile(join(folder, file)),
    write: (file, bytes) => writeFile(join(out, file), bytes),
  },
  { intraOpNumThreads: 1 },
);
const manifest = new URL("node_modules/onnxruntime-node/package.json", import.meta.url);
const { version } = JSON.parse(await readFile(manifest, "utf8"));
await writeFile(
  join(out, "result.json"),
  JSON.stringify({ version: `${version}, Node ${process.versions.node}`, failures }),
);
