/** Run the exported files in a browser: `node browser.mjs CHROMIUM CASES_FOLDER OUT_FOLDER`. */

import { readFile, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { complaints, launch } from "./chromium.mjs";

const TYPES = {
  ".html": "text/html",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
const ORIGIN = "http://localhost:8000";
const HERE = fileURLToPath(new URL(".", import.meta.url));

const [executable, folder, out] = process.argv.slice(2);
const roots = {
  ort: join(HERE, "../browser/node_modules/onnxruntime-web/dist"),
  cases: folder,
  here: HERE,
};

/** Answer a request from the folders above; nothing leaves the machine. */
async function answer(route) {
  const [, root, name] = decodeURIComponent(new URL(route.request().url()).pathname).split("/");
  if (!(root in roots)) return route.fulfill({ contentType: "text/html", body: "<!doctype html><title>cases</title>" });
  const contentType = TYPES[extname(name)] ?? "application/octet-stream";
  return route.fulfill({ contentType, body: await readFile(join(roots[root], name)) });
}

const browser = await launch(executable);
try {
  const page = await browser.newPage();
  const heard = complaints(page);
  await page.route("**/*", answer);
  await page.exposeFunction("store", (file, base64) => writeFile(join(out, file), Buffer.from(base64, "base64")));
  await page.goto(`${ORIGIN}/`);
  const failures = await page.evaluate(async () => {
    const ort = await import("/ort/ort.wasm.min.mjs");
    const { runCases } = await import("/here/cases.mjs");
    ort.env.wasm.wasmPaths = "/ort/";
    ort.env.wasm.numThreads = 1;
    const read = async (file) => new Uint8Array(await (await fetch(`/cases/${file}`)).arrayBuffer());
    const write = async (file, bytes) => {
      let text = "";
      for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
      await window.store(file, btoa(text));
    };
    const cases = JSON.parse(new TextDecoder().decode(await read("cases.json")));
    return runCases(ort, cases, { read, write }, { executionProviders: ["wasm"] });
  });
  const manifest = new URL("../browser/node_modules/onnxruntime-web/package.json", import.meta.url);
  const { version } = JSON.parse(await readFile(manifest, "utf8"));
  const result = { version: `${version} (WASM), Chromium ${browser.version()}`, failures };
  await writeFile(join(out, "result.json"), JSON.stringify(result));
  if (heard.length) throw new Error(`the browser complained:\n${heard.join("\n")}`);
} finally {
  await browser.close();
}
