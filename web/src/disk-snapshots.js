// A disk with snapshots, in a file or anything like one: chunks of the disk are somewhere in the file, and its index
// (disk-index.js) says where, for the disk as it is and for each of its snapshots.
//
// A snapshot is a copy of the map, and so is going back to one: both take no longer on a large disk. A chunk that a
// snapshot has, too, is never written again; what is to change of it goes to a new place. What always holds: a chunk is
// written where it is only if nothing but the disk as it is has it, and is on the medium before the map that names it.
// How many have a chunk is counted when the disk is opened, so nothing of that can be wrong after a power cut.
import { fill } from "./disk-copy.js";
import { CHUNK, chunks, drive, HOLE, Index, PAGE } from "./disk-index.js";
import { missing, parts } from "./disk-memory.js";
import { noSnapshot } from "./disk-store.js";
import { AuroraError } from "./error.js";

/** @import { Opened } from "./disk-copy.js" */
/** @import { Bytes, Steps, Version } from "./disk-index.js" */
/** @import { DiskOptions, DiskSnapshots, DiskStore } from "./types.js" */

/**
 * What a disk is kept in.
 * @typedef {object} Kept
 * @property {DiskStore} store
 * @property {boolean} takesTime
 * @property {Bytes & { setLength: (bytes: number) => void | Promise<void> }} data what it holds; a length of 0 empties it
 * @property {Bytes} index
 * @property {number} [size] of a disk from before there were indexes, which is in its data as it is
 */

export class SnapshotDisk {
  readOnly = false;
  size = 0;
  #data;
  #index;
  #map = new Uint32Array();
  /** How many maps have a chunk of the file. */
  #counts = new Uint16Array(64);
  /** No chunk of the file before this one is free. */
  #firstFree = 0;
  /** Pages of the map that are not in the index as they are here. @type {Set<number>} */
  #changed = new Set();
  /** @type {Promise<unknown>} */
  #turn = Promise.resolve();

  /** @param {Kept} kept */
  constructor({ store, takesTime, data, index }) {
    this.store = store;
    this.takesTime = takesTime;
    this.#data = data;
    this.#index = new Index(index);
  }

  /**
   * Opens what is kept, makes it anew if it is not there or asked to, or goes back to a snapshot.
   * @param {Kept} kept
   * @param {DiskOptions} options
   * @param {Opened} image
   */
  static async open(kept, { name, size = 0, replace = false, snapshot }, image) {
    const disk = new SnapshotDisk(kept);
    const exists = await drive(disk.#load(kept.size));
    if (snapshot !== undefined) await disk.#goBack(snapshot);
    else if (!exists || replace) await disk.#make(name, size, image, exists);
    return disk;
  }

  /** @param {number | undefined} old @returns {Steps<boolean>} */
  *#load(old) {
    yield* this.#index.load();
    if (!this.#index.head && old === undefined) return false;
    if (!this.#index.head) {
      this.#grow(/** @type {number} */ (old), true);
      yield this.#data.setLength(this.#map.length * CHUNK);
      yield* this.#become();
    }
    const { live, kept } = this.#known;
    for (const version of kept) this.#count(yield* this.#index.map(version), 1);
    if (this.#map.length === 0) this.#count((this.#map = yield* this.#index.map(live)), 1);
    this.size = live.size;
    yield this.#shorten();
    return true;
  }

  get #known() {
    if (!this.#index.head) throw new AuroraError("the disk is not made yet");
    return this.#index.head;
  }

  /** What nobody has at the end of the file is given back. */
  #shorten() {
    const end = this.#counts.findLastIndex((count) => count > 0) + 1;
    return this.#data.setLength(end * CHUNK);
  }

  /** @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes */
  read(offset, bytes) {
    return this.#next(() => this.#get(this.#map, offset, bytes));
  }

  /** @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes */
  write(offset, bytes) {
    return this.#next(() => this.#change(offset, bytes));
  }

  flush() {
    return this.#next(() => this.#save());
  }

  async close() {
    try {
      await this.flush();
    } finally {
      await Promise.allSettled([this.#data, this.#index].map(async (file) => file.close()));
    }
  }

  /** Its snapshots. @returns {DiskSnapshots} */
  get snapshots() {
    return {
      list: () =>
        this.#known.kept
          .map(({ name, made, size }) => ({ name, made: new Date(made), size }))
          .sort((a, b) => b.made.getTime() - a.made.getTime()),
      make: async (name, at = () => {}) => this.#next(() => this.#snapshot(name, at)),
      remove: async (name) => this.#next(() => this.#forget(name)),
      read: async (name, offset, bytes) => this.#next(() => this.#getOf(name, offset, bytes)),
    };
  }

  /**
   * One thing after the other, where things take time.
   * @template T
   * @param {() => Steps<T>} act
   * @returns {T | Promise<T>}
   */
  #next(act) {
    if (!this.takesTime) return drive(act());
    const done = this.#turn.then(() => drive(act()));
    this.#turn = done.catch(() => {});
    return done;
  }

  /** @param {Uint32Array} map @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes @returns {Steps<void>} */
  *#get(map, offset, bytes) {
    for (const { at, part } of runs(map, offset, bytes)) {
      if (at === undefined) part.fill(0);
      else yield this.#data.read(at, part);
    }
  }

  /** @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes @returns {Steps<void>} */
  *#change(offset, bytes) {
    for (const { blocks, from, part, isOwn } of this.#alike(offset, bytes)) {
      if (isOwn) yield* this.#put(blocks[0] * CHUNK + from, part);
      else if (part.length === blocks.length * CHUNK) yield* this.#move(blocks, part);
      else {
        const whole = new Uint8Array(CHUNK);
        yield* this.#get(this.#map, blocks[0] * CHUNK, whole);
        whole.set(part, from);
        yield* this.#move(blocks, whole);
      }
    }
  }

  /**
   * The parts of a transfer, with neighbours in one piece that are both of chunks only the disk has, or both of whole ones
   * that others have, too, or that are nowhere yet.
   * @param {number} offset
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  *#alike(offset, bytes) {
    /** @type {{ blocks: number[], from: number, part: Uint8Array<ArrayBuffer>, isOwn: boolean } | undefined} */
    let run;
    for (const { block, from, part } of parts(offset, bytes, CHUNK)) {
      const isOwn = this.#counts[this.#map[block] - 1] === 1;
      const isWhole = (/** @type {number} */ length) => isOwn || length % CHUNK === 0;
      if (run && run.isOwn === isOwn && isWhole(run.part.length) && isWhole(part.length)) {
        run.blocks.push(block);
        const start = run.part.byteOffset - bytes.byteOffset;
        run.part = bytes.subarray(start, start + run.part.length + part.length);
        continue;
      }
      if (run) yield run;
      run = { blocks: [block], from, part: /** @type {Uint8Array<ArrayBuffer>} */ (part), isOwn };
    }
    if (run) yield run;
  }

  /** @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes @returns {Steps<void>} */
  *#put(offset, bytes) {
    for (const { at, part } of runs(this.#map, offset, bytes)) yield this.#data.write(/** @type {number} */ (at), part);
  }

  /**
   * Writes chunks to places of their own, which only then become theirs.
   * @param {number[]} blocks
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @returns {Steps<void>}
   */
  *#move(blocks, bytes) {
    const places = this.#free(blocks.length);
    for (const { at, part } of runs(places, 0, bytes)) yield this.#data.write(/** @type {number} */ (at), part);
    for (const [i, block] of blocks.entries()) {
      if (this.#map[block] !== HOLE) this.#counts[this.#map[block] - 1] -= 1;
      this.#map[block] = places[i];
      this.#changed.add(Math.floor((block * 4) / PAGE));
    }
    this.#count(places, 1);
  }

  /** So many chunks of the file that nobody has. @param {number} count */
  #free(count) {
    while (this.#counts[this.#firstFree] > 0) this.#firstFree += 1;
    const found = new Uint32Array(count);
    for (let i = 0, chunk = this.#firstFree; i < count; chunk++) {
      if (!(this.#counts[chunk] > 0)) found[i++] = chunk + 1;
    }
    return found;
  }

  /** @returns {Steps<void>} */
  *#save() {
    yield this.#data.flush();
    if (this.#changed.size === 0) return;
    yield* this.#index.put(this.#known.live, this.#map, this.#changed);
    this.#changed.clear();
  }

  /** Notes that maps with these chunks are there, or no longer. @param {ArrayLike<number>} map @param {number} more */
  #count(map, more) {
    for (let i = 0; i < map.length; i++) {
      if (map[i] === HOLE) continue;
      const chunk = map[i] - 1;
      if (chunk >= this.#counts.length) {
        const longer = new Uint16Array(2 * (chunk + 1));
        longer.set(this.#counts);
        this.#counts = longer;
      }
      this.#counts[chunk] += more;
      if (more < 0) this.#firstFree = Math.min(this.#firstFree, chunk);
    }
  }

  /** @param {string} name @returns {Version} */
  #find(name) {
    const found = this.#index.head?.kept.find((kept) => kept.name === name);
    if (!found) throw noSnapshot(name);
    return found;
  }

  /** @param {string} name @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes @returns {Steps<void>} */
  *#getOf(name, offset, bytes) {
    const version = this.#find(name);
    yield* this.#get(yield* this.#index.map(version), offset, bytes);
  }

  /** @param {string} name @param {() => void} at @returns {Steps<void>} */
  *#snapshot(name, at) {
    yield* this.#save();
    at();
    const { live, kept } = this.#known;
    const made = { name, made: Date.now(), size: this.size, at: this.#index.room(this.size) };
    yield* this.#index.put(made, this.#map);
    const old = kept.find((other) => other.name === name);
    const before = old ? yield* this.#index.map(old) : [];
    // Counted first: if nobody knows whether the index has it, no chunk of it may change.
    this.#count(this.#map, 1);
    yield* this.#index.commit(live, [...kept.filter((other) => other !== old), made]);
    this.#count(before, -1);
  }

  /** @param {string} name @returns {Steps<void>} */
  *#forget(name) {
    const version = this.#find(name);
    // The map in the index may still have chunks that only the snapshot has here: they must not become free.
    yield* this.#save();
    const { live, kept } = this.#known;
    const map = yield* this.#index.map(version);
    yield* this.#index.commit(
      live,
      kept.filter((other) => other !== version),
    );
    this.#count(map, -1);
  }

  /** @param {string} name */
  #goBack(name) {
    return drive(this.#replace(this.#find(name)));
  }

  /** @param {Version} version @returns {Steps<void>} */
  *#replace(version) {
    const before = this.#map;
    this.#map = yield* this.#index.map(version);
    this.#count(this.#map, 1);
    this.size = version.size;
    yield* this.#become();
    this.#count(before, -1);
  }

  /** Has the disk be what the map in memory says. @returns {Steps<void>} */
  *#become() {
    const live = { size: this.size, at: this.#index.room(this.size) };
    yield* this.#index.put(live, this.#map);
    yield* this.#index.commit(live, this.#index.head?.kept ?? []);
    this.#changed.clear();
  }

  /**
   * Makes the disk anew: the old one is there until the new one is whole.
   * @param {string} name
   * @param {number} size
   * @param {Opened} image
   * @param {boolean} exists
   */
  async #make(name, size, image, exists) {
    const before = { map: this.#map, size: this.size };
    [this.#map, this.size] = [new Uint32Array(), 0];
    try {
      // Chunks of a new file are where they would be without a map: what is next to each other stays so.
      if (!exists) await this.#data.setLength(0);
      const reach = async (/** @type {number} */ end) => {
        if (end <= this.size) return;
        this.#grow(end, !exists);
        if (!exists) await this.#data.setLength(this.#map.length * CHUNK);
      };
      await reach(size);
      /** @type {(offset: number, bytes: Uint8Array<ArrayBuffer>) => Promise<void>} */
      const write = async (offset, bytes) => {
        await reach(offset + bytes.length);
        await this.write(offset, bytes);
      };
      await reach(image ? await fill({ write }, image) : 0);
      if (this.size === 0) throw missing(name);
      await this.#data.flush();
      await drive(this.#become());
    } catch (error) {
      this.#count(this.#map, -1);
      [this.#map, this.size] = [before.map, before.size];
      this.#changed.clear();
      throw error;
    }
    this.#count(before.map, -1);
  }

  /** Makes the map long enough. @param {number} size @param {boolean} inPlace whether chunks are where they are without a map */
  #grow(size, inPlace) {
    const longer = new Uint32Array(chunks(size));
    longer.set(this.#map);
    if (inPlace) for (let i = this.#map.length; i < longer.length; i++) longer[i] = i + 1;
    this.#count(longer.subarray(this.#map.length), 1);
    [this.#map, this.size] = [longer, size];
  }
}

/**
 * Where the parts of a transfer are in the file, what is next to each other there in one piece; nowhere is zero.
 * @param {Uint32Array} map
 * @param {number} offset
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
function* runs(map, offset, bytes) {
  /** @type {{ at: number | undefined, start: number, end: number } | undefined} */
  let run;
  const whole = () => run && { at: run.at, part: bytes.subarray(run.start, run.end) };
  for (const { block, from, part } of parts(offset, bytes, CHUNK)) {
    const start = part.byteOffset - bytes.byteOffset;
    const end = start + part.length;
    const at = map[block] === HOLE ? undefined : (map[block] - 1) * CHUNK + from;
    if (run && at !== undefined && run.at !== undefined && at === run.at + start - run.start) {
      run.end = end;
      continue;
    }
    const last = whole();
    if (last) yield last;
    run = { at, start, end };
  }
  const last = whole();
  if (last) yield last;
}
