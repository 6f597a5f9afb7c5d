/** Starts the system's browser without a screen, and without its own traffic. */

import { chromium } from "playwright-core";

const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * @param {string} executablePath
 * @returns {Promise<import("playwright-core").Browser>}
 */
export function launch(executablePath) {
  return chromium.launch({ executablePath, headless: true, args: QUIET, timeout: 60_000 });
}

/**
 * Collect what a page complains of: uncaught errors, console errors and warnings, requests that failed.
 *
 * @param {import("playwright-core").Page} page
 * @returns {string[]} filled as it happens
 */
export function complaints(page) {
  const found = [];
  page.on("pageerror", (error) => found.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) found.push(`${message.type()}: ${message.text()}`);
  });
  page.on("requestfailed", (request) => found.push(`not loaded: ${request.url()}`));
  return found;
}
