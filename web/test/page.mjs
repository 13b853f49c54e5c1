// What a person sees of the page, tried in Chromium.
//
//   node web/test/page.mjs CHROMIUM URL TEST
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import assert from "node:assert/strict";
import { launch, open as openPage } from "./chromium.mjs";
import { PROMPT, command, pause, prompt, until } from "./console.mjs";
import { front } from "./front.mjs";

const [executablePath, url, name, ...rest] = process.argv.slice(2);

const browser = await launch(executablePath);
const open = (options) => openPage(browser, url, options);

/** CPU seconds all of the browser's processes have used. */
function cpuSeconds() {
  const stats = new Map();
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      stats.set(Number(pid), { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) });
    } catch {
      // It ended meanwhile.
    }
  }
  const ours = (pid) => pid === process.pid || (stats.has(pid) && ours(stats.get(pid).parent));
  let ticks = 0;
  for (const [pid, stat] of stats) if (pid !== process.pid && ours(pid)) ticks += stat.ticks;
  return ticks / 100;
}

const tests = {
  ...front(open),

  async boots_types_reads_and_reloads() {
    const page = await open();
    assert.match(await prompt(page), /Aurora/);
    assert.equal(await command(page, "echo $((6*7)) | tr 4 x"), "x2");
    assert.equal(await command(page, "echo kept > /tmp/f; cat /tmp/f"), "kept");
    await page.reload();
    await prompt(page);
    assert.match(await command(page, "cat /tmp/f"), /No such file/);
    assert.equal(await page.locator("#status").textContent(), "Running");
    await page.evaluate(() => window.aurora.type("poweroff\r"));
    await page.locator("#status", { hasText: "Powered off" }).waitFor();
  },

  async control_c_ends_a_busy_loop_within_100_ms() {
    const page = await open();
    await prompt(page);
    const times = [];
    for (let i = 0; i < 5; i++) {
      await page.evaluate(() => (window.aurora.terminal.clear(), window.aurora.type("while :; do :; done\r")));
      await until(page, /done\n*$/, "echo");
      await pause(300);
      times.push(
        await page.evaluate(
          () =>
            new Promise((resolve) => {
              const start = performance.now();
              const seen = window.aurora.terminal.onWriteParsed(() => {
                const buffer = window.aurora.terminal.buffer.active;
                const line = buffer.getLine(buffer.baseY + buffer.cursorY).translateToString(true);
                if (!/# ?$/.test(line)) return;
                seen.dispose();
                resolve(performance.now() - start);
              });
              window.aurora.type("\x03");
            }),
        ),
      );
    }
    console.log(`^C to prompt: ${times.map((t) => t.toFixed(1)).join(", ")} ms`);
    assert.ok(Math.max(...times) <= 100, `${times}`);
  },

  async a_timer_of_the_page_is_on_time_while_a_program_computes() {
    const page = await open();
    await prompt(page);
    await page.evaluate(() => window.aurora.type("yes > /dev/null &\r"));
    await pause(500);
    const late = await page.evaluate(
      () =>
        new Promise((resolve) => {
          let worst = 0;
          let expected = performance.now() + 16;
          let rounds = 300;
          setTimeout(function tick() {
            const now = performance.now();
            worst = Math.max(worst, now - expected);
            expected = now + 16;
            if (--rounds === 0) resolve(worst);
            else setTimeout(tick, 16);
          }, 16);
        }),
    );
    console.log(`worst lateness: ${late.toFixed(1)} ms`);
    assert.ok(late <= 50, `${late}`);
    const { instructions } = await page.evaluate(() => window.aurora.statistics());
    await pause(300);
    assert.ok(
      (await page.evaluate(() => window.aurora.statistics())).instructions > instructions,
      "the program was running",
    );
  },

  async output_nobody_looks_at_grows_no_queue() {
    const page = await open();
    await prompt(page);
    const session = await page.context().newCDPSession(page);
    const heap = async () => {
      await session.send("HeapProfiler.collectGarbage");
      return (await session.send("Runtime.getHeapUsage")).usedSize;
    };
    // Fills the scrollback first, which is bounded and not a queue.
    await page.evaluate(() => window.aurora.type("yes | head -6000\r"));
    await until(page, new RegExp(`y\\n${PROMPT.source}`), "end of yes");
    const before = { heap: await heap(), ...(await page.evaluate(() => window.aurora.statistics())) };
    await page.evaluate(() => window.aurora.type("yes\r"));
    const other = await page.context().newPage();
    await other.bringToFront();
    await pause(60000);
    const after = { heap: await heap(), ...(await page.evaluate(() => window.aurora.statistics())) };
    console.log(`before ${JSON.stringify(before)} after ${JSON.stringify(after)}`);
    assert.ok(after.unshown <= 32768);
    assert.equal(after.untaken, 0);
    assert.equal(after.memory, before.memory, "the machine's memory did not grow");
    assert.ok(after.heap - before.heap < 8 << 20, "the page's memory did not grow");
    await page.bringToFront();
    await page.evaluate(() => window.aurora.type("\x03"));
    await prompt(page);
  },

  async an_idle_machine_burns_no_core() {
    const page = await open();
    await prompt(page);
    // What it rehearses it does once, and the engine optimizes for a while after.
    await page.waitForFunction(async () => (await window.aurora.statistics()).rehearsed, undefined, { polling: 100 });
    await pause(2000);
    const before = cpuSeconds();
    await pause(4000);
    const share = (cpuSeconds() - before) / 4;
    console.log(`idle: ${(share * 100).toFixed(1)} % of a core`);
    assert.ok(share < 0.1, `${share}`);
  },

  /** Not a test: five navigations to the prompt, in milliseconds. */
  async measure_navigation_to_prompt() {
    const times = [];
    for (let i = 0; i < 5; i++) {
      const context = await browser.newContext();
      const page = await context.newPage();
      const start = performance.now();
      await page.goto(url, { waitUntil: "commit" });
      await page.waitForFunction(() => window.aurora !== undefined);
      await prompt(page);
      times.push(performance.now() - start);
      await context.close();
    }
    console.log(JSON.stringify(times));
  },

  /** Not a test: pictures of the page, wide and on a phone, dark and light, after the commands given. */
  async pictures() {
    const [folder, ...lines] = rest;
    const wide = { viewport: { width: 900, height: 560 } };
    const phone = { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true };
    for (const [name, size, shown] of [
      ["page", wide, lines],
      ["phone", phone, lines.slice(0, 3)],
    ]) {
      for (const colorScheme of ["dark", "light"]) {
        const page = await open({ ...size, colorScheme, deviceScaleFactor: 2 });
        await prompt(page);
        await page.evaluate(() => window.aurora.terminal.clear());
        for (const line of shown) {
          await page.keyboard.type(line);
          await page.keyboard.press("Enter");
          await pause(1500);
          await prompt(page);
        }
        writeFileSync(`${folder}/${name}-${colorScheme}.png`, await page.screenshot());
        await page.context().close();
      }
    }
  },
};

try {
  await tests[name]();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
