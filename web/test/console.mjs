// The terminal on the page, read and typed at as a person does.
import assert from "node:assert/strict";

export const PROMPT = /root@aurora:[^\n]*# ?$/;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The terminal's text, without the empty rest of the screen. */
export const text = (page) =>
  page.evaluate(() => {
    const buffer = window.aurora.terminal.buffer.active;
    const lines = [];
    for (let y = 0; y < buffer.length; y++) {
      const line = buffer.getLine(y);
      if (line.isWrapped) lines[lines.length - 1] += line.translateToString(true);
      else lines.push(line.translateToString(true));
    }
    return lines.join("\n").trimEnd();
  });

export async function until(page, pattern, what, milliseconds = 30000) {
  const start = performance.now();
  for (;;) {
    const now = await text(page);
    if (pattern.test(now)) return now;
    if (performance.now() - start > milliseconds) assert.fail(`no ${what}; the terminal shows:\n${now}`);
    await page.evaluate(
      () =>
        new Promise((resolve) => {
          const seen = window.aurora.terminal.onWriteParsed(resolve);
          setTimeout(() => (seen.dispose(), resolve()), 50);
        }),
    );
  }
}
export const prompt = (page) => until(page, PROMPT, "prompt");

/** Types a line as a person does, and gives what it printed. */
export async function command(page, line) {
  await page.evaluate(() => window.aurora.terminal.clear());
  await page.locator("#terminal").click();
  await page.keyboard.type(line);
  await page.keyboard.press("Enter");
  const seen = await until(
    page,
    new RegExp(`${PROMPT.source.slice(0, -6)}[^\\n]*\\n[^]*${PROMPT.source}`),
    `end of ${line}`,
  );
  return seen.split("\n").slice(1, -1).join("\n");
}
