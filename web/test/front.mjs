// The front: what a person sees and presses around the terminal.
import assert from "node:assert/strict";
import { command, pause, prompt, text, until } from "./console.mjs";

const PHONE = { viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true };

export const front = (open) => ({
  async a_start_shows_its_log_and_how_far_it_is() {
    const page = await open();
    await page.locator("#splash progress[value]").waitFor();
    await page.locator("#log", { hasText: "Aurora 0" }).waitFor({ state: "attached" });
    await page.locator("#splash.done").waitFor({ state: "attached" });
    await prompt(page);
    assert.equal(await page.locator("#status").textContent(), "Running");
  },

  async a_kernel_panic_is_shown_with_its_message_and_place() {
    const page = await open();
    await prompt(page);
    await page.evaluate(() => window.aurora.type("echo c > /proc/sysrq-trigger\r"));
    const dialog = page.getByRole("alertdialog", { name: "Kernel panic" });
    await dialog.waitFor();
    assert.match(
      await dialog.locator("pre").textContent(),
      /^sysrq triggered crash\n\nat kernel\/src\/[a-z/]+\.rs:\d+:\d+$/,
    );
    await dialog.getByRole("button", { name: "Start again" }).click();
    await prompt(page);
    assert.equal(await command(page, "echo again"), "again");
  },

  async a_worker_that_hangs_is_named_until_it_answers() {
    const page = await open();
    await prompt(page);
    const hanging = page.workers()[0].evaluate(() => {
      const start = performance.now();
      while (performance.now() - start < 7000);
    });
    await page
      .getByRole("alert")
      .getByText(/has not answered for \d+ s/)
      .waitFor();
    await page.getByRole("alert").waitFor({ state: "hidden" });
    await hanging;
    assert.equal(await command(page, "echo on"), "on");
  },

  async a_worker_that_died_is_noticed_and_can_be_replaced() {
    const page = await open();
    await prompt(page);
    await page.workers()[0].evaluate(() => self.close());
    const alert = page.getByRole("alert");
    await alert.getByText(/has not answered/).waitFor();
    await alert.getByRole("button", { name: "Restart" }).click();
    await prompt(page);
    assert.equal(await command(page, "echo again"), "again");
    assert.equal(await alert.isVisible(), false);
  },

  async a_phone_has_the_keys_it_lacks_and_nothing_is_cut_off() {
    const page = await open(PHONE);
    await prompt(page);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, 360);
    const key = (name) => page.getByRole("toolbar", { name: "Keys" }).getByRole("button", { name, exact: true });
    for (const name of ["Ctrl", "Alt", "Esc", "Tab", "Left", "Up", "Down", "Right"]) {
      const { width, height } = await key(name).boundingBox();
      assert.ok(width >= 36 && height >= 40, `${name}: ${width} by ${height}`);
    }
    await page.evaluate(() => window.aurora.type("cat\r"));
    await until(page, /cat\n*$/, "echo");
    await key("Ctrl").tap();
    assert.equal(await key("Ctrl").getAttribute("aria-pressed"), "true");
    await page.keyboard.type("c");
    await until(page, /\^C\n.*# ?$/, "prompt after ^C");
    assert.equal(await key("Ctrl").getAttribute("aria-pressed"), "false");
    await page.keyboard.type("echo one");
    await page.keyboard.press("Enter");
    await until(page, /\none\n.*# ?$/, "one");
    await key("Up").tap();
    await until(page, /# echo one$/, "the last command");
    await page.getByRole("button", { name: "Settings" }).tap();
    await page.getByRole("button", { name: "Restart" }).tap();
    await prompt(page);
    assert.ok(!(await text(page)).includes("echo one"));
  },

  async the_window_tells_the_programs_its_size() {
    const page = await open();
    await prompt(page);
    const size = () => page.evaluate(() => `${window.aurora.terminal.rows} ${window.aurora.terminal.cols}`);
    assert.equal(await command(page, "stty size"), await size());
    await page.evaluate(() => window.aurora.type("trap 'echo changed' WINCH\r"));
    const before = await size();
    await page.setViewportSize({ width: 700, height: 400 });
    await page.waitForFunction(
      (old) => `${window.aurora.terminal.rows} ${window.aurora.terminal.cols}` !== old,
      before,
    );
    assert.equal((await command(page, "stty size")).split("\n").at(-1), await size());
  },

  async the_settings_are_kept_and_the_theme_follows_them() {
    const page = await open({ colorScheme: "light" });
    await prompt(page);
    const background = () => page.evaluate(() => window.aurora.terminal.options.theme.background);
    assert.equal(await background(), "#ffffff");
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByText("Dark").click();
    await page.getByRole("button", { name: "Larger text" }).click();
    await page.getByRole("switch", { name: "Key row" }).check();
    const seen = async () => ({
      background: await background(),
      size: await page.evaluate(() => window.aurora.terminal.options.fontSize),
      keys: await page.getByRole("toolbar", { name: "Keys" }).isVisible(),
    });
    const chosen = { background: "#0d1323", size: 16, keys: true };
    assert.deepEqual(await seen(), chosen);
    await page.reload();
    await prompt(page);
    assert.deepEqual(await seen(), chosen);
  },

  async text_is_copied_and_pasted() {
    const page = await open({ permissions: ["clipboard-read", "clipboard-write"] });
    await prompt(page);
    await page.evaluate(() => navigator.clipboard.writeText("echo pasted"));
    await page.locator("#terminal").click();
    await page.keyboard.press("Control+Shift+V");
    await page.keyboard.press("Enter");
    await until(page, /\npasted\n/, "what the pasted command says");
    await page.evaluate(() => window.aurora.terminal.selectAll());
    await page.keyboard.press("Control+Shift+C");
    for (;;) {
      if ((await page.evaluate(() => navigator.clipboard.readText())).includes("\npasted\n")) break;
      await pause(10);
    }
  },
});
