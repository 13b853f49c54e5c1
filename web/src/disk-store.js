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
/** How long a page may still have it after it answered, in milliseconds. */
const LEAVING = 500;

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
    if (data.ask === "who is there") channel.postMessage({ here: true });
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
  const channel = channelOf(name);
  const waiting = new AbortController();
  const late = setTimeout(() => waiting.abort(), PATIENCE);
  // Who answers may be a page that is being left, on which this one follows.
  channel.onmessage = ({ data }) => data.here && !insist && setTimeout(() => waiting.abort(), LEAVING);
  channel.postMessage({ ask: insist ? "give up" : "who is there" });
  /** @type {Promise<() => void>} */
  const locked = new Promise((resolve, reject) => {
    const held = () => new Promise((release) => resolve(() => release(undefined)));
    navigator.locks.request(lockName(name), { signal: waiting.signal }, held).catch(reject);
  });
  const why = insist ? "is not given up by who has it" : "is in use by another machine, perhaps in another tab";
  return locked
    .catch((error) => Promise.reject(error.name === "AbortError" ? busy(name, why) : error))
    .finally(() => {
      clearTimeout(late);
      channel.close();
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
