// The disks of this origin as a page looks after them: their snapshots, and how much room there is.
import { plainImage } from "./disk-published.js";
import { ask, folder, INDEX, isOwned, OLD_DISK, readSnapshot, streamSnapshot } from "./disk-store.js";
import { AuroraError } from "./error.js";

/** @import { DiskSnapshot } from "./types.js" */

/** @param {unknown} error */
const isMissing = (error) => /** @type {any} */ (error).name === "NotFoundError";

/**
 * Sees to it that somebody has a disk who can be asked: the machine that has it, in whatever tab, or a worker of our own.
 * @param {string} name
 * @returns {Promise<() => Promise<void>>} to be called when that is needed no longer
 */
async function keep(name) {
  if (await isOwned(name)) return async () => {};
  const worker = new Worker(new URL("./disk-keeper.js", import.meta.url), { type: "module" });
  const tell = (/** @type {unknown} */ message) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) =>
        data.error ? reject(new AuroraError(data.error.message, data.error.errno)) : resolve(undefined);
      worker.onerror = ({ message }) => reject(new AuroraError(message ?? "the worker did not load"));
      worker.postMessage(message);
    });
  const end = () => worker.terminate();
  await tell(name).catch((error) => {
    end();
    throw error;
  });
  return () => tell(null).then(end, end);
}

/**
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} act
 */
async function withDisk(name, act) {
  const done = await keep(name);
  try {
    return await act();
  } finally {
    await done();
  }
}

/** Disks by name, in whatever store of this browser they are. A snapshot takes no longer on a large disk. */
export const disks = {
  /**
   * Whether there is such a disk in the private file system.
   * @param {string} name
   */
  async exists(name) {
    const at = await folder(name);
    for (const file of [INDEX, OLD_DISK]) {
      try {
        return (await (await at.getFileHandle(file)).getFile()).size > 0;
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    }
    return false;
  },

  /**
   * A disk's snapshots, the newest first.
   * @param {string} name
   * @returns {Promise<DiskSnapshot[]>}
   */
  snapshots: (name) => withDisk(name, () => ask(name, { act: "list" })),

  /**
   * Makes a snapshot, in place of one of this name.
   * @param {string} name
   * @param {string} snapshot
   * @returns {Promise<void>}
   */
  makeSnapshot: (name, snapshot) => withDisk(name, () => ask(name, { act: "make", snapshot })),

  /**
   * @param {string} name
   * @param {string} snapshot
   * @returns {Promise<void>}
   */
  removeSnapshot: (name, snapshot) => withDisk(name, () => ask(name, { act: "remove", snapshot })),

  /**
   * A snapshot as other tools know disks. That of a disk with a `base` is one once all of it was fetched: see
   * `fetchDisks` of the machine.
   * @param {string} name
   * @param {string} snapshot
   * @returns {Promise<ReadableStream<Uint8Array<ArrayBuffer>>>}
   */
  async image(name, snapshot) {
    const done = await keep(name);
    try {
      const { size } = await ask(name, { act: "find", snapshot });
      const range = await plainImage(size, (start, length) => readSnapshot(name, snapshot, start, length));
      return await streamSnapshot(name, snapshot, range, done);
    } catch (error) {
      await done();
      throw error;
    }
  },

  /** Bytes this origin may keep and keeps, and whether the browser promised not to drop them. */
  async storage() {
    const { quota = 0, usage = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    return { quota, usage, persisted: (await navigator.storage?.persisted?.()) ?? false };
  },
};
