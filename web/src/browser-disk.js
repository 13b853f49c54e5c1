// Disks in a browser's worker: a file in the origin's private file system (OPFS), else IndexedDB, else the Cache API,
// else memory. One machine has a disk at a time, whatever tab it is in.
import { Blocks, cacheStore, indexedStore } from "./disk-blocks.js";
import { missing, openMemory } from "./disk-memory.js";
import { openServer } from "./disk-server.js";
import { SnapshotDisk } from "./disk-snapshots.js";
import { DATA, folder, INDEX, OLD_DISK, own } from "./disk-store.js";
import { AuroraError } from "./error.js";

/** @import { Opened } from "./disk-copy.js" */
/** @import { Disk, DiskHolder, DiskOptions } from "./types.js" */

/** @typedef {any} AccessHandle the types of `FileSystemSyncAccessHandle` are the worker's, and this is checked with the page's */

/** A file of the private file system, which is read and written at once. */
class OpfsFile {
  /** @param {AccessHandle} handle @param {boolean} grows whether what it does not have yet is read as zeros */
  constructor(handle, grows) {
    this.handle = handle;
    this.grows = grows;
  }

  /** @param {FileSystemDirectoryHandle} at @param {string} name @param {boolean} grows */
  static async open(at, name, grows) {
    const file = /** @type {any} */ (await at.getFileHandle(name, { create: true }));
    return new OpfsFile(await file.createSyncAccessHandle(), grows);
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  read(offset, bytes) {
    const count = this.handle.read(bytes, { at: offset });
    if (count < bytes.length && !this.grows) throw new AuroraError("the disk's file has become shorter");
    bytes.fill(0, count);
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  write(offset, bytes) {
    const count = this.handle.write(bytes, { at: offset });
    if (count < bytes.length) throw new DOMException("the storage is full", "QuotaExceededError");
  }

  flush() {
    this.handle.flush();
  }

  /** @param {number} bytes */
  setLength(bytes) {
    if (this.handle.getSize() !== bytes) this.handle.truncate(bytes);
  }

  close() {
    this.handle.close();
  }
}

/** @param {FileSystemDirectoryHandle} at @param {string} name */
const sizeOf = async (at, name) => {
  try {
    return (await (await at.getFileHandle(name)).getFile()).size;
  } catch (/** @type {any} */ error) {
    if (error.name === "NotFoundError") return undefined;
    throw error;
  }
};

/**
 * Opens the files of a disk, making them if they are not there.
 * @param {DiskOptions} options
 * @param {Opened} image
 */
async function openOpfs(options, image) {
  const at = await folder(options.name);
  // The disk's only file, from before there were indexes.
  const size = await sizeOf(at, OLD_DISK);
  const isNew = size === undefined && !(await sizeOf(at, INDEX));
  if (isNew && !image && !options.size) throw missing(options.name);
  const name = size === undefined ? DATA : OLD_DISK;
  /** @type {OpfsFile[]} */
  const files = [];
  try {
    for (const [file, grows] of /** @type {[string, boolean][]} */ ([[name, false], [INDEX, true]])) {
      files.push(await OpfsFile.open(at, file, grows));
    }
    const [data, index] = files;
    const disk = await SnapshotDisk.open({ store: "opfs", takesTime: false, data, index, size }, options, image);
    if (isNew) await keepsAll(at, data, options.name);
    return disk;
  } catch (error) {
    for (const file of files) file.close();
    if (isNew) for (const file of [INDEX, DATA]) await at.removeEntry(file).catch(() => {});
    throw error;
  }
}

/**
 * Chromium's private windows have been seen to lose the end of a large file without an error.
 * @param {FileSystemDirectoryHandle} at
 * @param {OpfsFile} data
 * @param {string} name
 */
async function keepsAll(at, data, name) {
  const made = data.handle.getSize();
  data.close();
  data.handle = (await OpfsFile.open(at, DATA, false)).handle;
  const kept = data.handle.getSize();
  if (kept < made) {
    throw new AuroraError(`the browser kept ${kept} of the ${made} bytes of the disk ${name}: private windows may`);
  }
}

/**
 * @param {"indexeddb" | "cache"} store
 * @param {(name: string) => Promise<import("./disk-blocks.js").BlockStore>} open
 * @param {DiskOptions} options
 * @param {Opened} image
 */
async function openBlocks(store, open, options, image) {
  const blocks = await open(`aurora disk ${options.name}`);
  const kept = { data: new Blocks(blocks), index: new Blocks(await open(`aurora index of ${options.name}`)) };
  return SnapshotDisk.open({ store, takesTime: true, ...kept, size: await blocks.size() }, options, image);
}

/** The stores from best to worst. @type {Record<string, (options: DiskOptions, image: Opened) => Promise<Disk>>} */
const STORES = {
  opfs: openOpfs,
  indexeddb: (options, image) => openBlocks("indexeddb", indexedStore, options, image),
  cache: (options, image) => openBlocks("cache", cacheStore, options, image),
  memory: openMemory,
};

/** What does not belong to this origin alone, or goes with the machine: nobody else can want it. @type {typeof STORES} */
const OUTSIDE = { memory: openMemory, server: openServer };

/** Errors that are about the disk, not about whether there is such a store. @param {any} error */
const isOfDisk = (error) =>
  error instanceof AuroraError || ["QuotaExceededError", "NoModificationAllowedError"].includes(error.name);

/**
 * Opens a disk in the best store there is; `options.store` names one.
 * @param {DiskOptions} options
 * @param {Opened} image
 * @param {DiskHolder} holder
 * @returns {Promise<Disk>}
 */
export async function openDisk(options, image, holder) {
  const { name, busy } = options;
  const release = options.store && options.store in OUTSIDE ? () => {} : await own(name, busy === "take", holder);
  try {
    const disk = await openBest(options, image);
    const close = disk.close.bind(disk);
    return Object.assign(disk, {
      readOnly: disk.readOnly || (options.readOnly ?? false),
      close: async () => {
        try {
          await close();
        } finally {
          release();
        }
      },
    });
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * @param {DiskOptions} options
 * @param {Opened} image
 */
async function openBest(options, image) {
  const stores = options.store ? [options.store] : Object.keys(STORES);
  let reason;
  for (const store of stores) {
    try {
      return await { ...STORES, ...OUTSIDE }[store](options, image);
    } catch (error) {
      if (isOfDisk(error)) throw error;
      reason = error;
    }
  }
  throw reason;
}
