// The stores of a browser's disks, tried in a worker in Chromium: what is written is read, what was flushed is there for
// the next worker, and a disk has one owner.
//
//   node web/test/disk-stores.mjs CHROMIUM URL
import assert from "node:assert/strict";
import { launch, open } from "./chromium.mjs";

const [chromium, url] = process.argv.slice(2);

/** Runs in a worker of the page; what it gives comes back. */
async function inWorker(page, act, ...args) {
  return page.evaluate(
    async ([module, source, given]) => {
      const script = `import * as disks from ${JSON.stringify(module)};
        import * as blocks from ${JSON.stringify(new URL("disk-blocks.js", module).href)};
        const act = ${source};
        const holder = { giveUp() {}, snapshots: async () => {} };
        const openDisk = (options, image) => disks.openDisk(options, image, holder);
        try { self.postMessage({ value: await act({ ...blocks, openDisk }, ...${given}) }); }
        catch (error) { self.postMessage({ error: [error.name, error.code, error.message].join(" ") }); }`;
      const place = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
      const worker = new Worker(place, { type: "module" });
      const answer = await new Promise((resolve) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => resolve({ error: event.message });
      });
      // As a tab that is killed: nothing is closed.
      worker.terminate();
      if (answer.error) throw new Error(answer.error);
      return answer.value;
    },
    [new URL("aurora-os/browser-disk.js", url).href, act.toString(), JSON.stringify(args)],
  );
}

/** The same bytes in every place: each depends on where it is and on a seed. */
async function write({ openDisk }, store, replace) {
  const disk = await openDisk({ name: "test", size: 1 << 20, store, replace });
  const bytes = (offset, length) => Uint8Array.from({ length }, (_, i) => ((offset + i) * 31 + (offset >> 8)) & 255);
  // Across blocks, parts of blocks that overlap, the end.
  const writes = [0, 65024, 65536, 131072 - 512, 200 * 512, (1 << 20) - 4096];
  await Promise.all(writes.map((offset) => disk.write(offset, bytes(offset, 4096))));
  const model = new Uint8Array(1 << 20);
  for (const offset of writes) model.set(bytes(offset, 4096), offset);
  const compare = async () => {
    const back = new Uint8Array(1 << 20);
    await disk.read(0, back);
    return back.every((byte, i) => byte === model[i]);
  };
  const before = await compare();
  await disk.flush();
  return { before, after: await compare(), store: disk.store, size: disk.size, sum: model.reduce((a, b) => a + b) };
}

async function readBack({ openDisk }, store) {
  const disk = await openDisk({ name: "test", store });
  const back = new Uint8Array(disk.size);
  await disk.read(0, back);
  return { size: disk.size, sum: back.reduce((a, b) => a + b) };
}

const browser = await launch(chromium);
try {
  const page = await open(browser, new URL("blank.html", url).href);
  for (const store of ["opfs", "indexeddb", "cache"]) {
    const written = await inWorker(page, write, store, false);
    const { sum, ...rest } = written;
    assert.deepEqual(rest, { before: true, after: true, store, size: 1 << 20 });
    assert.deepEqual(await inWorker(page, readBack, store), { size: 1 << 20, sum }, store);
    await page.reload();
    assert.deepEqual(await inWorker(page, readBack, store), { size: 1 << 20, sum }, `${store}, after a reload`);
    assert.equal((await inWorker(page, write, store, true)).sum, sum);
  }
  // Snapshots, in every store, asked for by a page: of a disk that a worker has, and of one that nobody has.
  const held = async ({ openDisk }, store, call) => {
    const disk = await openDisk({ name: "test", store });
    await disk.write(0, new Uint8Array(4096).fill(1));
    await disk.snapshots.make("one");
    await disk.write(0, new Uint8Array(4096).fill(2));
    await disk.snapshots.make("two");
    await disk.snapshots.remove(call);
    const names = disk.snapshots.list().map(({ name }) => name);
    await disk.close();
    const back = await openDisk({ name: "test", store, snapshot: "one" });
    const bytes = new Uint8Array(512);
    await back.read(0, bytes);
    const none = await openDisk({ name: "other", store, size: 65536, snapshot: "one" }).catch((error) => error.code);
    await back.close();
    return [names, bytes[0], none];
  };
  for (const store of ["opfs", "indexeddb", "cache"]) {
    assert.deepEqual(await inWorker(page, held, store, "two"), [["one"], 1, "ENOENT"], store);
  }
  const looked = await page.evaluate(async (module) => {
    const { disks } = await import(module);
    await disks.makeSnapshot("test", "later");
    const names = (await disks.snapshots("test")).map(({ name }) => name);
    const image = new Uint8Array(await new Response(await disks.image("test", "one")).arrayBuffer());
    await disks.removeSnapshot("test", "one");
    const missing = await disks.image("test", "one").catch((error) => error.code);
    return [names, image.length, image[0], await disks.exists("test"), await disks.exists("none"), missing];
  }, new URL("aurora-os/disks.js", url).href);
  assert.deepEqual(looked, [["later", "one"], 1 << 20, 1, true, false, "ENOENT"]);

  // A disk from before disks had an index is one file that holds it as it is.
  const old = async ({ openDisk }) => {
    let at = await navigator.storage.getDirectory();
    for (const part of ["aurora", "old"]) at = await at.getDirectoryHandle(part, { create: true });
    const file = await (await at.getFileHandle("disk", { create: true })).createSyncAccessHandle();
    file.write(new Uint8Array(70_656).fill(5));
    file.close();
    const disk = await openDisk({ name: "old" });
    await disk.snapshots.make("as it was");
    await disk.write(0, new Uint8Array(512).fill(6));
    await disk.close();
    const said = [];
    for (const snapshot of [undefined, "as it was"]) {
      const opened = await openDisk({ name: "old", snapshot });
      const bytes = new Uint8Array(opened.size);
      await opened.read(0, bytes);
      said.push([bytes.length, bytes[0], bytes[512], bytes.at(-1)]);
      await opened.close();
    }
    return said;
  };
  assert.deepEqual(await inWorker(page, old), [[70_656, 6, 5, 5], [70_656, 5, 5, 5]]);

  // The best store is taken by itself, and in memory nothing stays.
  assert.equal((await inWorker(page, write)).store, "opfs");
  await inWorker(page, write, "memory");
  await assert.rejects(inWorker(page, readBack, "memory"), /ENOENT/);

  // Images: plain and packed, with what is zero left out; a name has one owner.
  const image = async ({ openDisk }, packed) => {
    const bytes = new Uint8Array(3 << 20);
    bytes.set([1, 2, 3], 1 << 20);
    const plain = () => new Blob([bytes]).stream();
    const stream = () => (packed ? plain().pipeThrough(new CompressionStream("gzip")) : plain());
    const disk = await openDisk({ name: `image ${packed}`, size: 8 << 20 }, async () => stream());
    const back = new Uint8Array(4096);
    disk.read(1 << 20, back);
    const again = await openDisk({ name: `image ${packed}` }).catch((error) => error.code);
    await disk.close();
    const free = await openDisk({ name: `image ${packed}` });
    return [disk.size, ...back.subarray(0, 4), again, free.size];
  };
  for (const packed of [false, true]) {
    assert.deepEqual(await inWorker(page, image, packed), [8 << 20, 1, 2, 3, 0, "EBUSY", 8 << 20]);
  }

  // What cannot be saved fails the flush, and is saved by the next one that can.
  const failing = async ({ Blocks }) => {
    const stored = new Map();
    let fails = true;
    const disk = new Blocks({
      get: async (block) => stored.get(block),
      put: async (blocks) => {
        if (fails) throw new DOMException("full", "QuotaExceededError");
        for (const [block, bytes] of blocks) stored.set(block, bytes.slice());
      },
    });
    await disk.write(0, new Uint8Array(512).fill(7));
    const first = await disk.flush().catch((error) => error.name);
    await disk.write(512, new Uint8Array(512).fill(8));
    fails = false;
    await disk.flush();
    return [first, stored.get(0)[0], stored.get(0)[512]];
  };
  assert.deepEqual(await inWorker(page, failing), ["QuotaExceededError", 7, 8]);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
