// The installed package in a page, tried in Chromium.
//
//   node web/test/package.mjs CHROMIUM URL TEST
import assert from "node:assert/strict";
import { launch, open } from "./chromium.mjs";
import { report } from "./report.mjs";

const [chromium, url, name] = process.argv.slice(2);

const tests = {
  async api() {
    const page = await open(browser, new URL("/blank.html", url).href);
    report(
      await page.evaluate(async () => {
        const { run } = await import("/api.js");
        return run(await import("/node_modules/aurora-os/src/browser.js"), "/image.cpio.gz");
      }),
    );
  },

  async example() {
    const page = await open(browser, new URL("/page.html", url).href);
    await page.locator("pre", { hasText: "ready" }).waitFor();
    await page.getByLabel("Command").fill("uname -m; cat /no/such/file");
    await page.getByRole("button", { name: "Run" }).click();
    await page.locator("pre", { hasText: "(1)" }).waitFor();
    assert.match(await page.locator("pre").textContent(), /^x86_64\ncat: can't open '\/no\/such\/file'.*\n\(1\)$/);
  },

  async vite() {
    const page = await open(browser, new URL("/vite/dist/index.html", url).href);
    await page.locator("pre", { hasText: "(3)" }).waitFor();
    assert.equal(await page.locator("pre").textContent(), "x86_64\n(3)");
  },
};

const browser = await launch(chromium);
try {
  await tests[name]();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
