// Bytes in blocks of 64 KiB in a store that answers later: IndexedDB or the Cache API.
//
// Writes end once they are in the worker's memory, as in a real disk's cache, and are saved soon after; a flush ends when
// everything before it is saved. Transfers are done in the order they come, so what is read of a block, changed and put
// back is never somebody's in between.
import { parts } from "./disk-memory.js";

export const BLOCK = 65536;
/** Blocks that are kept after they were read. */
const KEPT = 128;
/** How long what was written may wait for more to be saved with it, in milliseconds. */
const SOON = 50;

/**
 * Where blocks are.
 * @typedef {object} BlockStore
 * @property {(block: number) => Promise<Uint8Array | undefined>} get
 * @property {(blocks: Map<number, Uint8Array>, strict: boolean) => Promise<void>} put makes them last if `strict`
 * @property {() => Promise<number | undefined>} size of a disk from before disks had an index (disk-index.js)
 * @property {() => Promise<void>} clear
 * @property {() => void} close
 */

export class Blocks {
  #blocks;
  /** Written and not yet being saved. @type {Map<number, Uint8Array>} */
  #dirty = new Map();
  /** Being saved. @type {Map<number, Uint8Array>} */
  #saving = new Map();
  /** Read, the oldest first. @type {Map<number, Uint8Array>} */
  #kept = new Map();
  /** @type {Promise<void>} */
  #transfers = Promise.resolve();
  /** @type {Promise<void>} */
  #saves = Promise.resolve();
  #isDue = false;

  /** @param {BlockStore} blocks */
  constructor(blocks) {
    this.#blocks = blocks;
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  read(offset, bytes) {
    return this.#next(async () => {
      for (const { block, from, part } of parts(offset, bytes, BLOCK)) {
        const held = await this.#get(block);
        if (held) part.set(held.subarray(from, from + part.length));
        else part.fill(0);
      }
    });
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  write(offset, bytes) {
    return this.#next(async () => {
      for (const { block, from, part } of parts(offset, bytes, BLOCK)) {
        const held = part.length === BLOCK ? undefined : await this.#get(block);
        // What is being saved stays as it is meanwhile.
        const changed = this.#dirty.get(block) ?? held?.slice() ?? new Uint8Array(BLOCK);
        changed.set(part, from);
        this.#kept.delete(block);
        this.#dirty.set(block, changed);
      }
      if (this.#isDue) return;
      this.#isDue = true;
      // An error is kept for the flush: what could not be saved is still dirty then.
      setTimeout(() => this.#save(false).catch(() => {}), SOON);
    });
  }

  async flush() {
    await this.#transfers;
    await this.#save(true);
  }

  async close() {
    await this.flush().finally(() => this.#blocks.close());
  }

  /** What was never written takes no room, so only an empty one differs from others. @param {number} length */
  async setLength(length) {
    if (length > 0) return;
    await this.#transfers;
    this.#dirty.clear();
    this.#kept.clear();
    await this.#blocks.clear();
  }

  /** @param {() => Promise<void>} act */
  #next(act) {
    const done = this.#transfers.then(act);
    this.#transfers = done.catch(() => {});
    return done;
  }

  /** @param {boolean} strict */
  #save(strict) {
    const done = this.#saves.then(() => this.#saveNow(strict));
    this.#saves = done.catch(() => {});
    return done;
  }

  /** @param {boolean} strict */
  async #saveNow(strict) {
    this.#isDue = false;
    if (this.#dirty.size === 0 && !strict) return;
    [this.#saving, this.#dirty] = [this.#dirty, new Map()];
    try {
      await this.#blocks.put(this.#saving, strict);
      for (const [block, bytes] of this.#saving) this.#keep(block, bytes);
    } catch (error) {
      // What was written meanwhile is newer.
      this.#dirty = new Map([...this.#saving, ...this.#dirty]);
      throw error;
    } finally {
      this.#saving = new Map();
    }
  }

  /** @param {number} block */
  async #get(block) {
    const held = this.#dirty.get(block) ?? this.#saving.get(block) ?? this.#kept.get(block);
    if (held) return held;
    const bytes = await this.#blocks.get(block);
    // Nothing is written while a transfer is under way but by it.
    if (bytes) this.#keep(block, bytes);
    return bytes;
  }

  /** @param {number} block @param {Uint8Array} bytes */
  #keep(block, bytes) {
    if (this.#dirty.has(block)) return;
    this.#kept.delete(block);
    this.#kept.set(block, bytes);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= KEPT) break;
      this.#kept.delete(oldest);
    }
  }
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
const completed = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new DOMException("aborted", "AbortError"));
  });

/**
 * Blocks in IndexedDB: a record a block, in a database of this name.
 * @param {string} name
 * @returns {Promise<BlockStore>}
 */
export async function indexedStore(name) {
  const opening = indexedDB.open(name, 1);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore("blocks");
    opening.result.createObjectStore("disk");
  };
  const database = await answer(opening);
  /** @param {boolean} strict @param {string[]} stores */
  const writing = (strict, stores) =>
    database.transaction(stores, "readwrite", { durability: strict ? "strict" : "relaxed" });
  return {
    get: (block) => answer(database.transaction("blocks").objectStore("blocks").get(block)),
    put(blocks, strict) {
      const transaction = writing(strict, ["blocks", "disk"]);
      const store = transaction.objectStore("blocks");
      for (const [block, bytes] of blocks) store.put(bytes, block);
      // A transaction that writes nothing makes nothing last.
      transaction.objectStore("disk").put(Date.now(), "saved");
      return completed(transaction);
    },
    size: () => answer(database.transaction("disk").objectStore("disk").get("size")),
    clear() {
      const transaction = writing(true, ["blocks", "disk"]);
      transaction.objectStore("disk").clear();
      transaction.objectStore("blocks").clear();
      return completed(transaction);
    },
    close: () => database.close(),
  };
}

/**
 * Blocks in the Cache API: a response a block, in a cache of this name. It says nothing of when they last.
 * @param {string} name
 * @returns {Promise<BlockStore>}
 */
export async function cacheStore(name) {
  const cache = await caches.open(name);
  const place = (/** @type {string | number} */ what) => new URL(`/.aurora-disk/${what}`, location.origin).href;
  /** @param {string | number} what */
  const get = async (what) => {
    const found = await cache.match(place(what));
    return found && new Uint8Array(await found.arrayBuffer());
  };
  return {
    get,
    async put(blocks) {
      const puts = [...blocks].map(([block, bytes]) =>
        cache.put(place(block), new Response(/** @type {Uint8Array<ArrayBuffer>} */ (bytes))),
      );
      await Promise.all(puts);
    },
    async size() {
      const size = await get("size");
      return size && Number(new TextDecoder().decode(size));
    },
    async clear() {
      for (const request of await cache.keys()) await cache.delete(request);
    },
    close() {},
  };
}
