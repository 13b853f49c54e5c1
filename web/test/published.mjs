// A step of published-steps.js, in Chromium or in Node; prints what came of it as JSON.
//
//   node web/test/published.mjs CHROMIUM|node PAGE FOLDER STEP NAME URL KEY
import { join } from "node:path";
import { launchIn, openIn } from "./chromium.mjs";
import { run } from "./published-steps.js";

const [where, pageUrl, folder, step, name, url, key] = process.argv.slice(2);
const options = { name, url, key };

async function inPage() {
  const context = await launchIn(where, join(folder, "profile"));
  try {
    const page = await openIn(context, new URL("blank.html", pageUrl).href);
    return await page.evaluate(
      async ([library, steps, step, options]) => {
        const { Aurora } = await import(library);
        const { run } = await import(steps);
        return run(Aurora, step, options);
      },
      [new URL("aurora-os/browser.js", pageUrl).href, new URL("steps.js", pageUrl).href, step, options],
    );
  } finally {
    await context.close();
  }
}

async function inNode() {
  const { Aurora } = await import("../src/node.js");
  const kernel = new URL("aurora-os/aurora.wasm", pageUrl);
  return run(Aurora, step, { ...options, name: join(folder, name), kernel });
}

console.log(JSON.stringify(await (where === "node" ? inNode() : inPage())));
process.exit();
