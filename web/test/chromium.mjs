// A headless Chromium for the tests, and pages in it on which nothing may go wrong.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const launch = (executablePath) => chromium.launch({ executablePath, args });

/** A browser that keeps what it stores in `folder`: its one context. */
export const launchIn = (executablePath, folder, options = {}) =>
  chromium.launchPersistentContext(folder, { executablePath, args, viewport: { width: 1000, height: 640 }, ...options });

/** A page that fails on errors, on what its console is told of them, and on requests to anyone else. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 640 }, ...options });
  return openIn(context, url);
}

/** The same in a context that is there already. */
export async function openIn(context, url) {
  const page = await context.newPage();
  const origin = new URL(url).origin;
  page.on("pageerror", (error) => assert.fail(error));
  page.on("console", (message) => assert.notEqual(message.type(), "error", message.text()));
  page.on("request", (request) =>
    assert.ok(new URL(request.url()).origin === origin || /^(data|blob):/.test(request.url()), request.url()),
  );
  await page.goto(url);
  return page;
}
