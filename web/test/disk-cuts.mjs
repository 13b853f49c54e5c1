// A disk with snapshots whose power goes at any moment: what was flushed is there, and every snapshot is what it was.
//
//   node web/test/disk-cuts.mjs [CUTS] [SEED]
import assert from "node:assert/strict";
import { Blocks } from "../src/disk-blocks.js";
import { SnapshotDisk } from "../src/disk-snapshots.js";

const cuts = Number(process.argv[2] ?? 200);
const seed = Number(process.argv[3] ?? Date.now() % 1e9) || 1;

const SECTOR = 512;
const SIZE = 20 * 65536 - 4096;
const SECTORS = SIZE / SECTOR;

/** A small generator of random numbers, so that a seed gives the same again (xorshift). */
let state = seed;
function below(limit) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % limit;
}

class Cut extends Error {}
class Full extends Error {}

/** How many writes there still are until the store is full. */
let room = Infinity;

/** How many writes and flushes there still are until the power goes. */
let left = Infinity;
function happens() {
  if (left-- <= 0) throw new Cut();
}

/** A file whose writes are in a cache until they are flushed: a power cut leaves of them what chance wants. */
class Medium {
  /** What is on it, and what is read. */
  kept = new Uint8Array();
  bytes = new Uint8Array();
  /** Sectors written since the last flush. */
  loose = new Set();

  read(offset, bytes) {
    bytes.fill(0);
    bytes.set(this.bytes.subarray(offset, offset + bytes.length));
  }

  write(offset, bytes) {
    if (room-- <= 0) throw new Full();
    // Part of a write that is cut off may be there.
    const part = left <= 0 ? bytes.subarray(0, below(bytes.length / SECTOR) * SECTOR) : bytes;
    if (offset + part.length > this.bytes.length) this.setLength(offset + part.length);
    this.bytes.set(part, offset);
    for (let at = offset; at < offset + part.length; at += SECTOR) this.loose.add(at);
    happens();
  }

  flush() {
    happens();
    this.kept = this.bytes.slice();
    this.loose.clear();
  }

  setLength(length) {
    const longer = new Uint8Array(length);
    longer.set(this.bytes.subarray(0, length));
    this.bytes = longer;
  }

  close() {}

  /** The power goes and comes back. */
  cut() {
    const all = below(4) === 0;
    const after = new Uint8Array(this.bytes.length);
    after.set(this.kept.subarray(0, after.length));
    for (const at of this.loose) {
      if (all || below(2) === 0) after.set(this.bytes.subarray(at, at + SECTOR), at);
    }
    [this.bytes, this.kept] = [after, after.slice()];
    this.loose.clear();
  }
}

/** Sectors with a number each. */
function sectors(count, number) {
  const bytes = new Uint8Array(count * SECTOR);
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < count; i++) words.fill(number() * 4096 + i, (i * SECTOR) / 4, ((i + 1) * SECTOR) / 4);
  return bytes;
}

/** A sector's word; every word of it is the same. */
function wordsOf(bytes) {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  return Uint32Array.from({ length: bytes.length / SECTOR }, (_, i) => {
    const word = words[(i * SECTOR) / 4];
    assert.equal(word, words[((i + 1) * SECTOR) / 4 - 1], "a sector is torn");
    return word;
  });
}

const files = { data: new Medium(), index: new Medium() };
const open = (options = {}, image) =>
  SnapshotDisk.open({ store: "opfs", takesTime: false, ...files }, { name: "cut", ...options }, image);
const imageOf = (bytes) => async () => new Blob([bytes]).stream();

/** What is expected: of each sector what it may be, the newest last, and what snapshots have. */
let may;
const snapshots = new Map();
let versions = 0;

const newest = () => Uint32Array.from(may, (words) => words.at(-1));
const settled = (words) => Array.from(words, (word) => [word]);
const isPossible = (words, expected) => words.every((word, i) => expected[i].includes(word));

/** Does something; returns what else there may be if the power goes meanwhile. */
const acts = [
  [60, async (disk) => {
    const count = 1 + below(below(3) === 0 ? 400 : 16);
    const start = below(SECTORS - count);
    const bytes = sectors(count, () => (versions = (versions + 1) % 1e6));
    wordsOf(bytes).forEach((word, i) => may[start + i].push(word));
    room = below(20) === 0 ? below(4) : Infinity;
    try {
      await disk.write(start * SECTOR, bytes);
    } catch (error) {
      if (!(error instanceof Full)) throw error;
      // Of such a write some may be there, and nothing else is touched.
      const all = new Uint8Array(SIZE);
      disk.read(0, all);
      const words = wordsOf(all);
      assert.ok(isPossible(words, may), "a store that is full");
      words.forEach((word, i) => may[i].at(-1) !== word && may[i].push(word));
    } finally {
      room = Infinity;
    }
  }],
  [15, async (disk) => {
    await disk.flush();
    may = settled(newest());
  }],
  [6, async (disk, doubt) => {
    const name = `snapshot ${below(5)}`;
    doubt.snapshot = { name, either: [snapshots.get(name), newest()] };
    await disk.snapshots.make(name);
    snapshots.set(name, newest());
    may = settled(newest());
  }],
  [4, async (disk, doubt) => {
    const names = [...snapshots.keys()];
    if (names.length === 0) return;
    const name = names[below(names.length)];
    doubt.snapshot = { name, either: [snapshots.get(name), undefined] };
    await disk.snapshots.remove(name);
    snapshots.delete(name);
  }],
  [3, async (disk, doubt) => {
    const names = [...snapshots.keys()];
    if (names.length === 0) return undefined;
    const snapshot = names[below(names.length)];
    await disk.close();
    may = settled(newest());
    doubt.live = settled(snapshots.get(snapshot));
    const opened = await open({ snapshot });
    may = doubt.live;
    return opened;
  }],
  [2, async (disk, doubt) => {
    await disk.close();
    may = settled(newest());
    const bytes = new Uint8Array(SIZE);
    const start = below(SECTORS - 300);
    bytes.set(sectors(below(300), () => (versions = (versions + 1) % 1e6)), start * SECTOR);
    doubt.live = settled(wordsOf(bytes));
    const opened = await open({ replace: true }, imageOf(bytes));
    may = doubt.live;
    return opened;
  }],
  [2, async (disk) => {
    await disk.close();
    may = settled(newest());
    return open();
  }],
];

async function step(disk, doubt) {
  let pick = below(acts.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, act] of acts) {
    if (pick < weight) return (await act(disk, doubt)) ?? disk;
    pick -= weight;
  }
  return disk;
}

/** What there is has to be what may be, and is what is expected from now on. */
async function verify(disk, doubt, what) {
  const bytes = new Uint8Array(SIZE);
  disk.read(0, bytes);
  const words = wordsOf(bytes);
  assert.ok(isPossible(words, may) || (doubt.live && isPossible(words, doubt.live)), `${what}: the disk`);
  // What it may have become by what was in its way.
  may = settled(words);
  const { name: doubtful, either = [] } = doubt.snapshot ?? {};
  const found = new Map(disk.snapshots.list().map(({ name }) => [name, undefined]));
  for (const name of found.keys()) {
    await disk.snapshots.read(name, 0, bytes);
    found.set(name, wordsOf(bytes));
  }
  for (const name of new Set([...found.keys(), ...snapshots.keys()])) {
    const expected = name === doubtful ? either : [snapshots.get(name)];
    const is = found.get(name);
    const isOne = expected.some((one) => (is && one ? is.every((word, i) => word === one[i]) : is === one));
    assert.ok(isOne, `${what}: ${name}`);
  }
  snapshots.clear();
  for (const [name, words] of found) snapshots.set(name, words);
}

/** Cuts the power again and again; what was done before counts. */
async function cutOften() {
  let disk = await open({ size: SIZE });
  may = settled(new Uint32Array(SECTORS));
  await disk.flush();
  for (let cut = 0; cut < cuts; cut++) {
    const doubt = {};
    left = below(120);
    try {
      for (;;) {
        delete doubt.live;
        delete doubt.snapshot;
        disk = await step(disk, doubt);
      }
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
    }
    for (const file of Object.values(files)) file.cut();
    // It may go again while the disk is opened.
    left = below(3) === 0 ? below(3) : Infinity;
    disk = await open().catch((error) => error);
    left = Infinity;
    if (disk instanceof Cut) for (const file of Object.values(files)) file.cut();
    if (disk instanceof Error) disk = await open();
    await verify(disk, doubt, `seed ${seed}, cut ${cut}`);
  }
  const used = files.data.bytes.length / SIZE;
  assert.ok(used <= snapshots.size + 3, `the file is ${used} times as long as the disk`);
}

/** A disk from before there were indexes keeps what it has, and a store that answers later does it all, too. */
async function oldAndSlow() {
  const stored = [new Map(), new Map()];
  const store = (blocks) => ({
    get: async (block) => blocks.get(block),
    put: async (written) => {
      for (const [block, bytes] of written) blocks.set(block, bytes.slice());
    },
    clear: async () => blocks.clear(),
    close() {},
  });
  const kept = () => {
    const [data, index] = stored.map((blocks) => new Blocks(store(blocks)));
    return { store: "indexeddb", takesTime: true, data, index, size: 1 << 20 };
  };
  stored[0].set(3, new Uint8Array(65536).fill(7));
  const byte = async (disk, offset) => {
    const bytes = new Uint8Array(512);
    await disk.read(offset, bytes);
    return bytes[0];
  };
  let disk = await SnapshotDisk.open(kept(), { name: "old" });
  assert.equal(await byte(disk, 3 * 65536), 7);
  // All of these are on their way together.
  await Promise.all([
    disk.snapshots.make("before"),
    disk.write(3 * 65536, new Uint8Array(512).fill(8)),
    disk.write(3 * 65536 + 512, new Uint8Array(512).fill(9)),
    disk.snapshots.make("after"),
    disk.write(3 * 65536, new Uint8Array(512).fill(10)),
  ]);
  await disk.close();
  for (const [snapshot, expected] of [["before", [7, 7]], ["after", [8, 9]]]) {
    disk = await SnapshotDisk.open(kept(), { name: "old", snapshot });
    assert.deepEqual([await byte(disk, 3 * 65536), await byte(disk, 3 * 65536 + 512)], expected);
    await disk.close();
  }
  await assert.rejects(SnapshotDisk.open(kept(), { name: "old", snapshot: "none" }), { code: "ENOENT" });
}

/** What cannot be understood is not made anew. */
async function damaged() {
  const disk = await open();
  await disk.snapshots.make("one");
  await disk.close();
  for (const at of [30, 65536 + 30]) files.index.write(at, new Uint8Array([1, 2, 3]));
  await assert.rejects(open({ size: SIZE }), /damaged/);
}

await cutOften();
await damaged();
await oldAndSlow();
console.log(`${cuts} cuts, seed ${seed}: nothing is lost`);
