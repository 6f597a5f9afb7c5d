/**
 * Uses the page as a person would, and writes down what happened:
 * `node page.mjs CHROMIUM URL PICTURE OTHER_PICTURE PLAIN_MODEL OWN_MODEL NAMES SCREENSHOTS OUT.json`.
 */

import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { complaints, launch } from "./chromium.mjs";

const [executable, url, picture, other, plain, own, names, shots, out] = process.argv.slice(2);

const AXE = await readFile(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Drop a file on the page, as a person does from a folder. */
async function drop(page, path, type) {
  const base64 = (await readFile(path)).toString("base64");
  await page.evaluate(
    ({ base64, name, type }) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], name, { type }));
      document
        .getElementById("drop")
        .dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    },
    { base64, name: basename(path), type },
  );
}

/** Do `action` and return the explanation that follows. */
async function explained(page, action) {
  const before = await page.evaluate(() => window.explanations?.length ?? 0);
  await action();
  await page.waitForFunction((n) => window.explanations?.length > n, before, { timeout: 60_000 });
  return page.evaluate(() => window.explanations.at(-1));
}

async function alert(page, action) {
  await action();
  await page.waitForSelector("#alert:not([hidden])", { timeout: 60_000 });
  return page.textContent("#alert");
}

const canvasSum = () => {
  const { width, height } = document.getElementById("canvas");
  const { data } = document.getElementById("canvas").getContext("2d").getImageData(0, 0, width, height);
  return data.reduce((a, b, i) => (a * 31 + b * (i % 97)) % 1000003, 7);
};

/** Move with the Tab key only, and say where it led. */
async function tabbed(page) {
  const stops = [];
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const e = document.activeElement;
      return e === document.body ? null : (e.closest("#samples, #classes")?.id ?? (e.id || e.name));
    });
    if (stop === null) break;
    if (stops.at(-1) !== stop) stops.push(stop);
  }
  return stops;
}

/** Contrast of the pairs of colours that text is set in (WCAG 2.2, 1.4.3). */
const contrasts = () => {
  const root = getComputedStyle(document.documentElement);
  const light = (name) => {
    const value = root.getPropertyValue(`--${name}`).trim().slice(1);
    const [r, g, b] = [0, 2, 4].map((i) => {
      const c = Number.parseInt(value.slice(i, i + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pairs = "ink/paper ink/card ink/tint soft/paper soft/card on-accent/accent alert/alert-tint accent/card".split(
    " ",
  );
  return Object.fromEntries(
    pairs.map((pair) => {
      const [a, b] = pair.split("/").map(light);
      return [pair, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    }),
  );
};

const browser = await launch(executable);
const told = { contrasts: {}, widths: {} };
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: "light" });
  const heard = complaints(page);
  await page.addInitScript(() => {
    window.explanations = [];
    document.addEventListener("explained", ({ detail }) => {
      const maps = detail.maps.map((m) => ({ ...m, data: [...m.data] }));
      window.explanations.push({ ...detail, maps, scores: [...detail.scores], pixels: [...detail.pixels] });
    });
  });
  told.first = await explained(page, () => page.goto(url));
  told.tabs = await tabbed(page);
  told.dropped = await explained(page, () => drop(page, picture, "image/png"));
  told.clicked = await explained(page, () => page.click("#classes li:nth-child(3) button"));
  told.pressed = await page.$$eval("#classes button[aria-pressed=true]", (all) => all.map((b) => b.dataset.class));
  told.focus = await page.evaluate(() => document.activeElement.dataset.class);
  const ask = (field, text) => async () => {
    await page.fill(field, text);
    await page.keyboard.press("Enter");
  };
  told.searched = await explained(page, ask("#search", "Cross"));
  told.against = await explained(page, ask("#against", "2"));
  told.question = await page.textContent("#status");
  told.unknown = await alert(page, ask("#search", "no such class"));
  await page.screenshot({ path: join(shots, "why-not.png"), fullPage: true });
  told.sheets = (await page.pdf({ path: join(shots, "report.pdf"), preferCSSPageSize: true })).toString("latin1");
  told.sheets = told.sheets.match(/\/Type\s*\/Page[^s]/g).length;
  told.report = await page.textContent("#report");
  told.fitted = await explained(page, () => drop(page, other, "image/jpeg"));

  const drawn = [await page.evaluate(canvasSum)];
  for (const act of [
    () => page.selectOption("#layer", { index: 1 }),
    () => page.selectOption("#colors", { index: 1 }),
    () => page.getByLabel("For and against").check(),
    async () => {
      await page.focus("#opacity");
      await page.keyboard.press("ArrowLeft");
    },
  ]) {
    await act();
    drawn.push(await page.evaluate(canvasSum));
  }
  told.drawn = drawn;
  told.unnamed = await page.$$eval("button, select, input, canvas[role=img]", (all) =>
    all
      .filter(
        (e) =>
          !(
            e.getAttribute("aria-label") ||
            e.labels?.[0]?.textContent ||
            e.textContent ||
            e.querySelector("img")?.alt
          ).trim(),
      )
      .map((e) => e.outerHTML),
  );
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  told.saved = {
    name: download.suggestedFilename(),
    head: (await readFile(await download.path())).toString("latin1", 0, 8),
  };

  told.wrongPicture = await alert(page, () => drop(page, plain, "image/png"));
  await explained(page, () => page.click("#samples button"));
  told.alertGone = await page.isHidden("#alert");
  told.wrongModel = await alert(page, () => page.setInputFiles("#own", plain));
  told.anotherModel = (await explained(page, () => page.selectOption("#model", { index: 1 }))).maps.length;
  told.wrongNames = await alert(page, () => page.setInputFiles("#own", names));
  await explained(page, () => page.setInputFiles("#own", own));
  told.ownModel = await page.$eval("#model", (e) => e.selectedOptions[0].textContent);
  await explained(page, () => page.click("#samples li:last-child button"));
  await explained(page, () => page.selectOption("#model", { index: 0 }));

  told.violations = {};
  await page.evaluate(AXE);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    told.violations[colorScheme] = await page.evaluate(async () =>
      (await window.axe.run()).violations.map(({ id, nodes }) => [id, ...nodes.map((n) => n.html)]),
    );
    told.contrasts[colorScheme] = await page.evaluate(contrasts);
    for (const width of [390, 1280]) {
      await page.setViewportSize({ width, height: 900 });
      told.widths[width] = await page.evaluate(() => document.documentElement.scrollWidth);
      await page.screenshot({ path: join(shots, `page-${colorScheme}-${width}.png`), fullPage: true });
    }
  }
  told.complaints = heard;
  await writeFile(out, JSON.stringify(told));
} finally {
  await browser.close();
}
