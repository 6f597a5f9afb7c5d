/**
 * Uses the notebook's viewer as a person would, and writes down what it showed after every choice:
 * `node viewer.mjs CHROMIUM URL OUT.json SCREENSHOT`. A JupyterLab notebook is run first.
 */

import { writeFile } from "node:fs/promises";

import { complaints, launch } from "./chromium.mjs";

const [executable, url, out, shot] = process.argv.slice(2);
const browser = await launch(executable);
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 1200 } });
  const heard = complaints(page);
  await page.goto(url);
  const viewer = page.locator(".fgcam-viewer").last();
  if (url.includes("/lab/")) {
    await page.waitForSelector(".jp-Notebook", { timeout: 120_000 });
    await page.waitForSelector(".jp-Notebook-ExecutionIndicator[data-status=idle]", { timeout: 120_000 });
    await page.getByRole("menuitem", { name: "Run", exact: true }).click();
    await page
      .getByRole("menuitem", { name: /^Run All Cells/ })
      .first()
      .click();
  }
  await viewer.waitFor({ timeout: 240_000 });

  /** Wait until what was asked for is shown, and say what that is. */
  const settled = async () => {
    await page.locator(".fgcam-viewer:not([aria-busy])").last().waitFor({ timeout: 120_000 });
    return viewer.evaluate((root) => ({
      told: root.querySelector(".told").textContent,
      said: root.querySelector(".said").textContent,
      heat: root.querySelector(".heat").src,
      opacity: root.querySelector(".heat").style.opacity,
      layers: [...root.querySelector("[name=layer]").options].map((option) => option.value),
      ends: [...root.querySelectorAll(".ends span")].map((end) => end.textContent),
      unnamed: [...root.querySelectorAll("select, input")].filter((e) => !e.labels[0]?.textContent.trim()).length,
    }));
  };
  const told = { first: await settled() };
  for (const [name, act] of Object.entries({
    class: () => viewer.locator("[name=target]").selectOption({ index: 1 }),
    layer: () => viewer.locator("[name=layer]").selectOption("layer4.relu"),
    method: () => viewer.locator("[name=method]").selectOption("layercam"),
    signed: () => viewer.locator("[name=signed]").check(),
    opacity: () => viewer.locator("[name=opacity]").fill("0.3"),
  })) {
    await act();
    told[name] = await settled();
  }
  await viewer.screenshot({ path: shot });
  await writeFile(out, JSON.stringify({ ...told, complaints: heard }));
} finally {
  await browser.close();
}
