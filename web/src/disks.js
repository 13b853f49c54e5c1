// The disks of this origin as a page looks after them: their snapshots, and how much room there is.
import { plainImage } from "./disk-published.js";
import { askForCopy, DISK, folder, snapshotFolder } from "./disk-store.js";

/**
 * A disk as it was once.
 * @typedef {object} Snapshot
 * @property {string} name
 * @property {Date} made
 * @property {number} size
 */

/** @param {unknown} error */
const isMissing = (error) => /** @type {any} */ (error).name === "NotFoundError";

/** Disks by name. They are files of the origin's private file system; other stores have no snapshots. */
export const disks = {
  /**
   * Whether there is such a disk.
   * @param {string} name
   */
  async exists(name) {
    try {
      await (await folder(name)).getFileHandle(DISK);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  },

  /**
   * A disk's snapshots, the newest first.
   * @param {string} name
   * @returns {Promise<Snapshot[]>}
   */
  async snapshots(name) {
    const found = [];
    for await (const [snapshot, handle] of /** @type {any} */ (await snapshotFolder(name)).entries()) {
      const file = await handle.getFile();
      found.push({ name: snapshot, made: new Date(file.lastModified), size: file.size });
    }
    return found.sort((a, b) => b.made.getTime() - a.made.getTime());
  },

  /**
   * A snapshot's bytes: an image to boot, to export, or to make the disk of again.
   * @param {string} name
   * @param {string} snapshot
   * @returns {Promise<File>}
   */
  async snapshot(name, snapshot) {
    return (await (await snapshotFolder(name)).getFileHandle(snapshot)).getFile();
  },

  /**
   * A snapshot as other tools know disks. That of a disk with a `base` is one once all of it was fetched: see
   * `fetchDisks` of the machine.
   * @param {string} name
   * @param {string} snapshot
   * @returns {Promise<Blob>}
   */
  async image(name, snapshot) {
    return plainImage(await disks.snapshot(name, snapshot));
  },

  /**
   * @param {string} name
   * @param {string} snapshot
   */
  async removeSnapshot(name, snapshot) {
    await (await snapshotFolder(name)).removeEntry(snapshot);
  },

  /**
   * Has the machine that has a disk, in whatever tab, make a snapshot of it.
   * @param {string} name
   * @param {string} snapshot
   */
  makeSnapshot: (name, snapshot) => askForCopy(name, snapshot),

  /** Bytes this origin may keep and keeps, and whether the browser promised not to drop them. */
  async storage() {
    const { quota = 0, usage = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    return { quota, usage, persisted: (await navigator.storage?.persisted?.()) ?? false };
  },
};
