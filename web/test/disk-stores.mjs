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
        try { self.postMessage({ value: await act({ ...disks, ...blocks }, ...${given}) }); }
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
  const failing = async ({ BlockDisk }) => {
    const stored = new Map();
    let fails = true;
    const disk = new BlockDisk(
      {
        kind: "indexeddb",
        get: async (block) => stored.get(block),
        put: async (blocks) => {
          if (fails) throw new DOMException("full", "QuotaExceededError");
          for (const [block, bytes] of blocks) stored.set(block, bytes.slice());
        },
      },
      1 << 20,
    );
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
