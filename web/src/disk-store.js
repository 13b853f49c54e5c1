// The disks of this origin: where their files are, and who has one. For pages and workers alike.
import { AuroraError } from "./error.js";

/** @import { DiskHolder } from "./types.js" */

/** The file of a disk, in its folder. */
export const DISK = "disk";
const SNAPSHOTS = "snapshots";

/**
 * The folder of a disk in the origin's private file system.
 * @param {string} name
 */
export async function folder(name) {
  let at = await navigator.storage.getDirectory();
  for (const part of ["aurora", name]) at = await at.getDirectoryHandle(part, { create: true });
  return at;
}

/** @param {string} name */
export const snapshotFolder = async (name) => (await folder(name)).getDirectoryHandle(SNAPSHOTS, { create: true });

/** How long who has a disk may take to give it up, in milliseconds. */
const PATIENCE = 10_000;

const lockName = (/** @type {string} */ name) => `aurora disk ${name}`;
const channelOf = (/** @type {string} */ name) => new BroadcastChannel(lockName(name));

/** @param {string} name @param {string} why */
const busy = (name, why) => new AuroraError(`the disk ${name} ${why}`, { name: "EBUSY", number: 16 });

/**
 * Takes a disk for this machine: `holder` is asked when another one wants it. Returns what gives it back.
 * @param {string} name
 * @param {boolean} insist whether who has it is asked to give it up
 * @param {DiskHolder} holder
 * @returns {Promise<() => void>}
 */
export async function own(name, insist, holder) {
  const release = await lock(name, insist);
  const channel = channelOf(name);
  channel.onmessage = async ({ data }) => {
    if (data.ask === "give up") holder.giveUp();
    if (data.ask !== "copy") return;
    const error = await holder.copy(name, data.snapshot).then(
      () => undefined,
      (reason) => String(reason.message ?? reason),
    );
    channel.postMessage({ copied: data.snapshot, error });
  };
  return () => {
    channel.close();
    release();
  };
}

/**
 * @param {string} name
 * @param {boolean} insist
 * @returns {Promise<() => void>}
 */
function lock(name, insist) {
  // Without locks nobody can be told.
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((resolve, reject) => {
    /** @param {Lock | null} lock */
    const held = (lock) => {
      if (!lock) return reject(busy(name, "is in use by another machine, perhaps in another tab"));
      return new Promise((release) => resolve(() => release(undefined)));
    };
    if (!insist) return void navigator.locks.request(lockName(name), { ifAvailable: true }, held).catch(reject);
    const channel = channelOf(name);
    channel.postMessage({ ask: "give up" });
    navigator.locks
      .request(lockName(name), { signal: AbortSignal.timeout(PATIENCE) }, held)
      .catch((error) => reject(error.name === "TimeoutError" ? busy(name, "is not given up by who has it") : error))
      .finally(() => channel.close());
  });
}

/**
 * Has who has a disk make a snapshot of it.
 * @param {string} name
 * @param {string} snapshot
 * @returns {Promise<void>}
 */
export function askForCopy(name, snapshot) {
  const channel = channelOf(name);
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => done(busy(name, "is not copied by who has it")), PATIENCE);
    /** @param {AuroraError} [error] */
    const done = (error) => {
      clearTimeout(late);
      channel.close();
      if (error) reject(error);
      else resolve();
    };
    channel.onmessage = ({ data }) => {
      if (data.copied === snapshot) done(data.error && new AuroraError(data.error));
    };
    channel.postMessage({ ask: "copy", snapshot });
  });
}
