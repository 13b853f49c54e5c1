// Disks in a browser's worker: a file in the origin's private file system (OPFS), else IndexedDB, else the Cache API,
// else memory. One machine has a disk at a time, whatever tab it is in.
import { BlockDisk, cacheStore, indexedStore } from "./disk-blocks.js";
import { fill, isZero } from "./disk-copy.js";
import { missing, openMemory } from "./disk-memory.js";
import { openServer } from "./disk-server.js";
import { DISK, folder, own, snapshotFolder } from "./disk-store.js";
import { AuroraError } from "./error.js";

/** @import { Opened } from "./disk-copy.js" */
/** @import { Disk, DiskHolder, DiskOptions, DiskStore } from "./types.js" */

/** What is not whole yet. */
const PART = "part";
/** Bytes copied at a time. */
const RUN = 1 << 20;

/** @typedef {FileSystemFileHandle & { move: (name: string) => Promise<void> }} Movable */
/** @typedef {any} AccessHandle the types of `FileSystemSyncAccessHandle` are the worker's, and this is checked with the page's */

/** A file that is read and written at once. */
class OpfsDisk {
  takesTime = false;
  readOnly = false;
  store = /** @type {DiskStore} */ ("opfs");

  /** @param {AccessHandle} handle @param {string} name */
  constructor(handle, name) {
    this.handle = handle;
    this.name = name;
    this.size = handle.getSize();
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  read(offset, bytes) {
    const count = this.handle.read(bytes, { at: offset });
    if (count < bytes.length) throw new AuroraError("the disk's file has become shorter");
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  write(offset, bytes) {
    const count = this.handle.write(bytes, { at: offset });
    if (count < bytes.length) throw new DOMException("the storage is full", "QuotaExceededError");
  }

  flush() {
    this.handle.flush();
  }

  close() {
    this.handle.close();
  }

  /**
   * Copies it as it is at the moment `at` is called.
   * @param {string} snapshot
   * @param {() => void} [at]
   */
  async copy(snapshot, at = () => {}) {
    const target = await (await snapshotFolder(this.name)).getFileHandle(snapshot, { create: true });
    const copy = await accessHandle(target);
    try {
      copyTo(this, copy);
      at();
    } catch (error) {
      copy.close();
      await (await snapshotFolder(this.name)).removeEntry(snapshot);
      throw error;
    }
    copy.close();
  }
}

/** @param {FileSystemFileHandle} file @returns {Promise<AccessHandle>} */
const accessHandle = (file) => /** @type {any} */ (file).createSyncAccessHandle();

/**
 * @param {OpfsDisk} disk
 * @param {AccessHandle} copy
 */
function copyTo(disk, copy) {
  const buffer = new Uint8Array(RUN);
  copy.truncate(0);
  copy.truncate(disk.size);
  for (let at = 0; at < disk.size; at += RUN) {
    const bytes = buffer.subarray(0, Math.min(RUN, disk.size - at));
    disk.read(at, bytes);
    if (!isZero(bytes) && copy.write(bytes, { at }) < bytes.length) {
      throw new DOMException("the storage is full", "QuotaExceededError");
    }
  }
  copy.flush();
}

/**
 * Opens the file of a disk, making it if it is not there.
 * @param {DiskOptions} options
 * @param {Opened} image
 */
async function openOpfs({ name, size = 0, replace = false }, image) {
  const at = await folder(name);
  const exists = await at.getFileHandle(DISK).then(
    () => true,
    () => false,
  );
  const made = !exists || replace ? await createOpfs(at, name, size, image) : 0;
  const disk = new OpfsDisk(await accessHandle(await at.getFileHandle(DISK)), name);
  if (disk.size >= made) return disk;
  disk.close();
  await at.removeEntry(DISK);
  throw new AuroraError(`the browser kept ${disk.size} of the ${made} bytes of the disk ${name}: private windows may`);
}

/**
 * The old disk is there until the new one is whole. Returns how long that is: Chromium's private windows have been seen
 * to lose the end of a large file without an error.
 * @param {FileSystemDirectoryHandle} at
 * @param {string} name
 * @param {number} size
 * @param {Opened} image
 */
async function createOpfs(at, name, size, image) {
  const part = /** @type {Movable} */ (await at.getFileHandle(PART, { create: true }));
  const handle = await accessHandle(part);
  let whole;
  try {
    handle.truncate(0);
    handle.truncate(size);
    const length = image ? await fill(new OpfsDisk(handle, name), image) : 0;
    whole = Math.max(size, length);
    if (whole === 0) throw missing(name);
    handle.truncate(whole);
    handle.flush();
  } catch (error) {
    handle.close();
    await at.removeEntry(PART);
    throw error;
  }
  handle.close();
  await part.move(DISK);
  return whole;
}

/**
 * @param {import("./disk-blocks.js").BlockStore} blocks
 * @param {DiskOptions} options
 * @param {Opened} image
 */
async function openBlocks(blocks, { name, size = 0, replace = false }, image) {
  const present = await blocks.size();
  if (present !== undefined && !replace) return new BlockDisk(blocks, present);
  await blocks.clear();
  const disk = new BlockDisk(blocks, size);
  const length = image ? await fill(disk, image) : 0;
  if (length + size === 0) throw missing(name);
  await disk.flush();
  disk.size = Math.max(size, length);
  await blocks.setSize(disk.size);
  return disk;
}

/** The stores from best to worst. @type {Record<string, (options: DiskOptions, image: Opened) => Promise<Disk>>} */
const STORES = {
  opfs: openOpfs,
  indexeddb: async (options, image) => openBlocks(await indexedStore(options.name), options, image),
  cache: async (options, image) => openBlocks(await cacheStore(options.name), options, image),
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
        await close();
        release();
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
