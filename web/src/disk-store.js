// The disks of this origin: where their files are, and who has one. For pages and workers alike.
import { isZero } from "./disk-copy.js";
import { AuroraError } from "./error.js";

/** @import { Disk, DiskHolder, SnapshotCall } from "./types.js" */

/** The files of a disk, in its folder; the last is the only one of a disk from before disks had an index. */
export const DATA = "data";
export const INDEX = "index";
export const OLD_DISK = "disk";

/**
 * The folder of a disk in the origin's private file system.
 * @param {string} name
 */
export async function folder(name) {
  let at = await navigator.storage.getDirectory();
  for (const part of ["aurora", name]) at = await at.getDirectoryHandle(part, { create: true });
  return at;
}

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
    if (data.ask === "who is there" && !holder.isBrief) channel.postMessage({ here: true });
    if (data.ask === "give up") holder.giveUp();
    if (data.ask !== "snapshots") return;
    const answered = await Promise.resolve(holder.snapshots(name, data.call)).then(
      (value) => ({ value }),
      ({ message, code, errno }) => ({ error: { message, errno: code && { name: code, number: errno } } }),
    );
    channel.postMessage({ answer: data.id, ...answered });
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
 * Does for others what they ask about the snapshots of an open disk.
 * @param {Disk | undefined} disk
 * @param {SnapshotCall} call
 * @param {() => Promise<void>} [settle] puts on the disk what is only in memory
 */
export async function answerFor(disk, call, settle = async () => {}) {
  const snapshots = disk?.snapshots;
  if (!snapshots) throw new AuroraError("this disk has no snapshots: it is not kept by this browser");
  switch (call.act) {
    case "list":
      return snapshots.list();
    case "find": {
      const found = snapshots.list().find(({ name }) => name === call.snapshot);
      if (!found) throw noSnapshot(call.snapshot);
      return found;
    }
    case "make":
      await settle();
      return snapshots.make(call.snapshot);
    case "remove":
      return snapshots.remove(call.snapshot);
    case "read": {
      const bytes = new Uint8Array(call.length);
      await snapshots.read(call.snapshot, call.offset, bytes);
      return isZero(bytes) ? undefined : bytes;
    }
  }
}

/** @param {string} name */
export const noSnapshot = (name) => new AuroraError(`there is no snapshot ${name}`, { name: "ENOENT", number: 2 });

/**
 * Whether there is somebody who has a disk and answers for it; waits for who is only just letting go of it.
 * @param {string} name
 * @returns {Promise<boolean>}
 */
export async function isOwned(name) {
  for (const until = performance.now() + PATIENCE; performance.now() < until; ) {
    const { held = [] } = (await navigator.locks?.query()) ?? {};
    if (!held.some((lock) => lock.name === lockName(name))) return false;
    if (await answers(name)) return true;
  }
  throw busy(name, "is not answered for by who has it");
}

/** Whether somebody says soon that they have a disk. @param {string} name @returns {Promise<boolean>} */
function answers(name) {
  const channel = channelOf(name);
  /** @type {Promise<boolean>} */
  const answer = new Promise((resolve) => {
    channel.onmessage = ({ data }) => data.here && resolve(true);
    setTimeout(resolve, LEAVING, false);
    channel.postMessage({ ask: "who is there" });
  });
  return answer.finally(() => channel.close());
}

/**
 * Has who has a disk do something about its snapshots.
 * @param {string} name
 * @param {SnapshotCall} call
 * @returns {Promise<any>}
 */
export function ask(name, call) {
  const channel = channelOf(name);
  const id = crypto.randomUUID();
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(busy(name, "is not answered for by who has it")), PATIENCE);
    channel.onmessage = ({ data }) => {
      if (data.answer !== id) return;
      clearTimeout(late);
      if (data.error) reject(new AuroraError(data.error.message, data.error.errno));
      else resolve(data.value);
    };
    channel.postMessage({ ask: "snapshots", id, call });
  }).finally(() => channel.close());
}

/** Bytes of a snapshot that are asked for at a time. */
const PIECE = 4 << 20;

/**
 * Fills `bytes` with what a snapshot has from `offset` on; for who has seen to it that somebody has the disk.
 * @param {string} name
 * @param {string} snapshot
 * @param {number} offset
 * @param {number} length
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export const readSnapshot = async (name, snapshot, offset, length) =>
  // Nothing is sent for zeros.
  (await ask(name, { act: "read", snapshot, offset, length })) ?? new Uint8Array(length);

/**
 * A snapshot's bytes, or a range of them, as they are read; `done` hears of the end.
 * @param {string} name
 * @param {string} snapshot
 * @param {{ start?: number, end?: number }} [range]
 * @param {() => void} [done]
 * @returns {Promise<ReadableStream<Uint8Array<ArrayBuffer>>>}
 */
export async function streamSnapshot(name, snapshot, { start = 0, end } = {}, done = () => {}) {
  let at = start;
  const until = end ?? (await ask(name, { act: "find", snapshot })).size;
  return new ReadableStream({
    async pull(controller) {
      if (at < until) {
        const length = Math.min(PIECE, until - at);
        controller.enqueue(await readSnapshot(name, snapshot, at, length));
        at += length;
      }
      if (at < until) return;
      controller.close();
      done();
    },
    cancel: done,
  });
}
