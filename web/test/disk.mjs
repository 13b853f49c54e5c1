// What a person keeps on the page's disk, tried in Chromium.
//
//   node web/test/disk.mjs CHROMIUM URL TEST [FOLDER]
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createReadStream, createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { launchIn, openIn } from "./chromium.mjs";
import { command, pause, prompt, text } from "./console.mjs";

const [executablePath, url, name, pictures] = process.argv.slice(2);

const folder = mkdtempSync(join(tmpdir(), "aurora-disk-"));
let context = await launchIn(executablePath, join(folder, "profile"));
const open = () => openIn(context, url);

const panel = (page) => page.locator("#disk");

/** Presses a button of the disk's panel, and `yes` should it ask. */
async function press(page, button, yes) {
  if (!(await panel(page).isVisible())) await page.getByRole("button", { name: "Disk", exact: true }).click();
  await panel(page).getByRole("button", { name: button }).click();
  if (yes) await page.getByRole("dialog").getByRole("button", { name: yes, exact: true }).click();
}

/** Waits until a system that was started anew is at its prompt. */
async function restarted(page) {
  await page.locator("#splash:not(.done)").waitFor();
  await page.locator("#splash.done").waitFor({ state: "attached" });
  await prompt(page);
}

async function download(page, act) {
  const [file] = await Promise.all([page.waitForEvent("download"), act()]);
  const path = join(folder, file.suggestedFilename());
  await file.saveAs(path);
  return path;
}

/** The page's disk as an image, checked by e2fsck. */
async function exported(page) {
  const packed = await download(page, () => press(page, "Export"));
  const image = join(folder, "disk.img");
  await pipeline(createReadStream(packed), createGunzip(), createWriteStream(image));
  // The copy is of a disk in use: what is in its journal is there after replay, as for who mounts it.
  e2fsck("-fy", "-E", "journal_only", image);
  e2fsck("-fn", image);
  return { packed, image };
}

function e2fsck(...words) {
  const { status, stdout, stderr } = spawnSync("e2fsck", words, { encoding: "utf8" });
  assert.equal(status, 0, `e2fsck ${words}: ${stdout}${stderr}`);
}

const debugfs = (image, request) => spawnSync("debugfs", ["-R", request, image], { encoding: "utf8" }).stdout;

const tests = {
  async a_file_survives_a_reload_a_killed_browser_and_a_second_start() {
    let page = await open();
    await prompt(page);
    assert.match(await command(page, "mount | grep ' / '"), /vda on \/ type ext4/);
    await command(page, "echo synced > kept; sync");
    await page.reload();
    await prompt(page);
    assert.equal(await command(page, "cat kept"), "synced");
    // What is older than a second needs no sync.
    await command(page, "echo old >> kept");
    await pause(1500);
    const browser = context.browser();
    const gone = new Promise((resolve) => context.on("close", resolve));
    const { pid } = await processOf(page);
    process.kill(pid, "SIGKILL");
    await gone;
    await browser?.close();
    context = await launchIn(executablePath, join(folder, "profile"));
    page = await open();
    await prompt(page);
    assert.equal(await command(page, "cat kept"), "synced\nold");
  },

  async a_new_disk_is_fetched_as_it_is_touched_and_then_needs_no_network() {
    const asked = [];
    context.on("request", (request) => asked.push(new URL(request.url()).pathname));
    const chunks = () => asked.filter((path) => path.startsWith("/disk/chunks/")).length;
    let page = await open();
    await prompt(page);
    assert.ok(asked.includes("/disk/manifest") && !asked.includes("/disk.img.gz"), asked.join(" "));
    assert.ok(chunks() > 0);
    await page.evaluate(() => window.aurora.fetchDisks());
    const sum = await command(page, "find /bin /etc /usr -type f -exec cat {} + | sha256sum");
    await page.close();
    // From now on nothing of it can be had.
    await context.route("**/disk/**", (route) => route.abort());
    const before = chunks();
    page = await open();
    await prompt(page);
    assert.equal(await command(page, "find /bin /etc /usr -type f -exec cat {} + | sha256sum"), sum);
    assert.equal(chunks(), before);
  },

  async what_is_dirty_is_saved_when_the_page_goes() {
    let page = await open();
    await prompt(page);
    await command(page, "echo quick > quick");
    await page.close();
    page = await open();
    await prompt(page);
    assert.equal(await command(page, "cat quick"), "quick");
  },

  async an_exported_disk_is_right_to_e2fsck_and_can_be_imported() {
    const page = await open();
    await prompt(page);
    await command(page, "mkdir work; cp /bin/busybox work; echo exported > work/note");
    const { packed, image } = await exported(page);
    assert.equal(debugfs(image, "cat /root/work/note"), "exported\n");
    await command(page, "rm -r work; sync");
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), press(page, "Import")]);
    await chooser.setFiles(packed);
    await page.getByRole("dialog").getByRole("button", { name: "Import" }).click();
    await restarted(page);
    assert.equal(await command(page, "cat work/note; cmp work/busybox /bin/busybox && echo same"), "exported\nsame");
  },

  async a_second_tab_is_told_may_look_at_a_copy_and_may_take_over() {
    const first = await open();
    await prompt(first);
    await command(first, "echo first > whose");
    const second = await open();
    const dialog = second.getByRole("alertdialog", { name: "This disk is in use" });
    await dialog.waitFor();
    if (pictures) writeFileSync(join(pictures, "disk-in-use.png"), await second.screenshot());
    await dialog.getByRole("button", { name: "Look at a copy" }).click();
    await prompt(second);
    assert.equal(await command(second, "cat whose; echo second > whose; cat whose"), "first\nsecond");
    assert.equal(await command(first, "cat whose"), "first");
    await second.reload();
    await dialog.getByRole("button", { name: "Take over" }).click();
    await prompt(second);
    await first.getByRole("alertdialog", { name: "Running elsewhere" }).waitFor();
    assert.equal(await command(second, "cat whose"), "first");
    await first.getByRole("button", { name: "Start again" }).click();
    await first.getByRole("alertdialog", { name: "This disk is in use" }).waitFor();
  },

  async a_snapshot_is_restored_in_a_new_worker() {
    const page = await open();
    await prompt(page);
    await command(page, "x=remembered; echo on disk > /tmp/f; cd /tmp");
    await page.evaluate(() => window.aurora.snapshot());
    await command(page, "x=changed; rm /tmp/f; cd /");
    await page.evaluate(() => window.aurora.restore());
    await page.locator("#status", { hasText: "Running" }).waitFor();
    assert.equal(await command(page, "echo $x; cat /tmp/f; pwd; sleep 0.1; echo on"), "remembered\non disk\n/tmp\non");
  },

  async snapshots_are_listed_gone_back_to_and_deleted_and_a_reset_makes_all_new() {
    const page = await open();
    await prompt(page);
    await command(page, "echo one > number");
    await press(page, "Take a snapshot");
    await page.locator("#disk-snapshots li").waitFor();
    if (pictures) writeFileSync(join(pictures, "disk-panel.png"), await page.screenshot());
    await command(page, "echo two > number; sync");
    await press(page, /^Go back/, "Go back");
    await restarted(page);
    assert.equal(await command(page, "cat number"), "one");
    await press(page, "Factory reset", "Reset");
    await restarted(page);
    assert.match(await command(page, "cat number"), /No such file/);
    await press(page, /^Delete/, "Delete");
    await page.locator("#disk-none").waitFor();
  },

  async a_system_runs_from_the_database_and_from_the_cache_too() {
    // Any page of this origin will do that starts no machine itself.
    const page = await context.newPage();
    await page.goto(new URL("icon.svg", url).href);
    for (const store of ["indexeddb", "cache"]) {
      const said = await page.evaluate(
        async ([library, image, store]) => {
          const { Aurora } = await import(library);
          const shell = async (os, script) => {
            const program = os.spawn("/bin/sh", ["-c", script]);
            return new Response(program.stdout).text();
          };
          const disks = [{ name: `in ${store}`, store, image }];
          const first = await Aurora.boot({ disks });
          const before = await shell(first, "echo kept > /root/f; sync; md5sum < /bin/busybox");
          // As a tab that is killed.
          first.terminate();
          const second = await Aurora.boot({ disks });
          const after = await shell(second, "cat /root/f; md5sum < /bin/busybox");
          await second.shutdown();
          return { store: second.disks[0].store, same: after === `kept\n${before}` };
        },
        [new URL("aurora-os/browser.js", url).href, new URL("disk.img.gz", url).href, store],
      );
      assert.deepEqual(said, { store, same: true });
    }
  },

  async a_quota_the_browser_refuses_is_an_errno_and_what_was_synced_is_intact() {
    const page = await context.newPage();
    await page.goto(new URL("icon.svg", url).href);
    const session = await context.newCDPSession(page);
    const { origin } = new URL(url);
    /** Lets the origin have `room` more bytes than it has; without, as much as the browser likes. */
    const allow = async (room) => {
      const { usage } = await page.evaluate(() => navigator.storage.estimate());
      const quotaSize = room === undefined ? undefined : usage + room;
      await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize });
    };
    const boot = (disk, script) =>
      page.evaluate(
        async ([library, disk, script]) => {
          const { Aurora } = await import(library);
          const os = await Aurora.boot({ disks: [disk] }).catch((error) => error.message);
          if (typeof os === "string") return os;
          const program = os.spawn("/bin/sh", ["-c", script]);
          const read = (stream) => new Response(stream).text();
          const said = (await Promise.all([read(program.stdout), read(program.stderr)])).join("");
          os.terminate();
          return said;
        },
        [new URL("aurora-os/browser.js", url).href, disk, script],
      );
    const image = new URL("disk.img.gz", url).href;
    // The cache asks for room as bytes come.
    const cached = { name: "in the cache", store: "cache", image };
    assert.equal(await boot(cached, "seq 1 50000 > /root/synced; sync; echo kept"), "kept\n");
    await allow(2 << 20);
    const refused = await boot(cached, "dd if=/dev/urandom of=/root/big bs=1M count=24 conv=fsync; cat /root/synced | md5sum");
    assert.match(refused, /No space left on device/);
    await allow();
    const sum = spawnSync("sh", ["-c", "seq 1 50000 | md5sum"], { encoding: "utf8" }).stdout;
    assert.equal(await boot(cached, "md5sum < /root/synced"), sum);
    // A file is given its room when it is made; what was there before stays.
    assert.match(await boot({ name: "first", image }, "seq 1 50000 > /root/synced; sync; echo kept"), /kept/);
    await allow(1 << 20);
    assert.match(await boot({ name: "second", image }, "echo started"), /quota|space/i);
    assert.match(await boot({ name: "first", image, replace: true }, "echo started"), /quota|space/i);
    await allow();
    assert.equal(await boot({ name: "first" }, "md5sum < /root/synced"), sum);
  },

  async a_tab_that_is_closed_at_any_moment_loses_nothing_that_was_synced() {
    const rounds = Number(pictures ?? 3);
    let told = 0;
    let page = await open();
    await prompt(page);
    await command(page, "mkdir kept");
    for (let round = 0; round < rounds; round++) {
      // Some are closed while they still start.
      const work =
        `i=${told}; while :; do i=$((i+1)); seq $i $((i*7+50)) | dd of=kept/$i bs=64k conv=fsync 2>/dev/null; ` +
        `echo synced $i; seq 1 400 > other; mv other moved; done`;
      await page.locator("#terminal").click();
      await page.keyboard.insertText(work);
      await page.keyboard.press("Enter");
      await pause(200 + Math.random() * 1500);
      const lines = (await text(page)).match(/^synced \d+$/gm) ?? [];
      const last = Number(lines.at(-1)?.slice(7) ?? told);
      if (round % 4 === 3) await closeAtOnce(page);
      else await page.close({ runBeforeUnload: false });
      told = last;
      page = await open();
      if (round % 8 === 7) {
        await pause(Math.random() * 400);
        await page.close();
        page = await open();
      }
      await prompt(page);
      const from = Math.max(1, told - 40);
      const check = `for i in $(seq ${from} ${told}); do seq $i $((i*7+50)) | cmp -s - kept/$i || echo lost $i; done; echo looked`;
      // The line itself is so long that part of it is seen again.
      const said = await command(page, check);
      assert.ok(/looked$/.test(said) && !/lost \d/.test(said), `round ${round}, after ${told}: ${said}`);
    }
    await exported(page);
    console.log(`${rounds} times closed, ${told} files synced, none lost`);
  },

  /** Not a test: times from a reload to the prompt, in milliseconds, after the first start. */
  async measure_reload_to_prompt() {
    const page = await open();
    await prompt(page);
    const times = [];
    for (let i = 0; i < Number(pictures); i++) {
      const start = performance.now();
      await page.reload({ waitUntil: "commit" });
      await page.waitForFunction(() => window.aurora !== undefined);
      await prompt(page);
      times.push(performance.now() - start);
    }
    console.log(JSON.stringify(times));
  },

  async files_are_put_in_and_taken_out() {
    const page = await open();
    await prompt(page);
    const bytes = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7 + (i >> 9)) & 255));
    const local = join(folder, "some file.bin");
    writeFileSync(local, bytes);
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), press(page, "Put a file in")]);
    await chooser.setFiles(local);
    await page.locator("#disk:not([data-busy])").waitFor();
    await page.locator("#disk-path").fill("some file.bin");
    const back = await download(page, () => press(page, "Take it out"));
    assert.ok(readFileSync(back).equals(bytes));
    const dropped = await page.evaluateHandle(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["dropped\n"], "dropped.txt"));
      return transfer;
    });
    await page.dispatchEvent("#terminal", "drop", { dataTransfer: dropped });
    await page.waitForFunction(() => !document.getElementById("disk").hasAttribute("data-busy"));
    assert.equal(await command(page, "cat dropped.txt"), "dropped");
  },
};

/** Ends the page's process, as the kernel does when memory is short; the browser shows a sad tab, which is closed then. */
async function closeAtOnce(page) {
  const session = await page.context().newCDPSession(page);
  await Promise.race([session.send("Page.crash").catch(() => {}), pause(500)]);
  await page.close();
}

/** The browser's own process. */
async function processOf(page) {
  const session = await page.context().newCDPSession(page);
  const { processInfo } = await session.send("SystemInfo.getProcessInfo").catch(() => ({ processInfo: [] }));
  const found = processInfo.find(({ type }) => type === "browser");
  if (found) return { pid: found.id };
  const { stdout } = spawnSync("pgrep", ["-of", join(folder, "profile")], { encoding: "utf8" });
  return { pid: Number(stdout) };
}

try {
  await tests[name]();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await context.close().catch(() => {});
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}
