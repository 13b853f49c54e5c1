// The index of a disk's file: which chunk of the file holds which of the disk, as it is and as it was in each snapshot.
//
// It has two heads and then the maps. A head says where the maps are and is written in the other's place, with a number
// that is one higher and a checksum: after a power cut it is the old one or the new one. A map that no head names yet is
// on the medium before the head that names it. The map of the disk as it is changes where it is: whichever of its sectors
// get there, each names a chunk with what was in that place before or after the last flush.
import { isZero } from "./disk-copy.js";
import { AuroraError } from "./error.js";

/** Bytes of a disk that are in one piece in its file. */
export const CHUNK = 65536;
/** What a map has for a chunk of zeros that is nowhere; others are one more than the chunk of the file. */
export const HOLE = 0;

/** Bytes of the map that are written at a time. */
export const PAGE = 4096;
const MAGIC = "AURORASN";
const VERSION = 1;
/** Bytes of a head, and of what stands before its text: magic, version, checksum, length. */
const HEAD = 65536;
const PREFIX = 20;

/**
 * Bytes that grow as they are written; what was never written reads as zeros.
 * @typedef {object} Bytes
 * @property {(offset: number, bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>} read
 * @property {(offset: number, bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>} write
 * @property {() => void | Promise<void>} flush
 * @property {() => void | Promise<void>} close
 */

/** A disk as it is or was: its bytes, and where in the index its map is. @typedef {{ size: number, at: number }} Version */
/** @typedef {Version & { name: string, made: number }} Kept */
/** What a head says. @typedef {{ sequence: number, live: Version, kept: Kept[] }} Head */
/** What may have to wait for a store; see `drive`. @template T @typedef {Generator<void | Promise<void>, T, any>} Steps */

/**
 * Does steps one after the other: at once, as long as none gives a promise.
 * @template T
 * @param {Steps<T>} steps
 * @returns {T | Promise<T>}
 */
export function drive(steps) {
  /** @param {IteratorResult<void | Promise<void>, T>} step @returns {T | Promise<T>} */
  const go = (step) => {
    while (!step.done) {
      const { value } = step;
      if (value instanceof Promise) {
        return value.then(
          () => go(steps.next()),
          (error) => go(steps.throw(error)),
        );
      }
      step = steps.next();
    }
    return step.value;
  };
  return go(steps.next());
}

/** @param {number} size */
export const chunks = (size) => Math.ceil(size / CHUNK);
/** Bytes of the map of a disk. @param {number} size */
const mapBytes = (size) => Math.ceil((chunks(size) * 4) / PAGE) * PAGE;

export class Index {
  #file;
  /** Maps that a head which could not be written may name. @type {Version[]} */
  #doubtful = [];
  /** @type {Head | undefined} */
  head;

  /** @param {Bytes} file */
  constructor(file) {
    this.#file = file;
  }

  /** Finds the newest whole head. Where there is none the disk was never made whole. @returns {Steps<void>} */
  *load() {
    let written = 0;
    for (const place of [0, HEAD]) {
      const bytes = new Uint8Array(HEAD);
      yield this.#file.read(place, bytes);
      if (!isZero(bytes)) written += 1;
      const head = decoded(bytes);
      if (head && !(this.head && this.head.sequence > head.sequence)) this.head = head;
    }
    // A power cut damages one at most.
    if (written > 1 && !this.head) throw new AuroraError("the disk is damaged: nothing says where what it holds is");
  }

  /**
   * Has this be what holds from now on; if it fails, nobody knows which of the two does.
   * @param {Version} live
   * @param {Kept[]} kept
   * @returns {Steps<void>}
   */
  *commit(live, kept) {
    const sequence = (this.head?.sequence ?? 0) + 1;
    const head = { sequence, live, kept };
    const bytes = encoded(head);
    const fresh = [live, ...kept].filter(({ at }) => !this.#named().some((known) => known.at === at));
    this.#doubtful.push(...fresh);
    yield this.#file.write((sequence % 2) * HEAD, bytes);
    yield this.#file.flush();
    this.#doubtful = [];
    this.head = head;
  }

  /** Where a new map may be. @param {number} size */
  room(size) {
    const length = mapBytes(size);
    const taken = this.#named().sort((a, b) => a.at - b.at);
    let at = 2 * HEAD;
    for (const version of taken) {
      if (at + length <= version.at) break;
      at = Math.max(at, version.at + mapBytes(version.size));
    }
    return at;
  }

  #named() {
    const { live, kept } = this.head ?? { live: undefined, kept: [] };
    return [...(live ? [live] : []), ...kept, ...this.#doubtful];
  }

  /** @param {Version} version @returns {Steps<Uint32Array<ArrayBuffer>>} */
  *map({ size, at }) {
    const bytes = new Uint8Array(mapBytes(size));
    yield this.#file.read(at, bytes);
    const numbers = new DataView(bytes.buffer);
    return Uint32Array.from({ length: chunks(size) }, (_, i) => numbers.getUint32(i * 4, true));
  }

  /**
   * Writes pages of a map, or all of it, and makes them last.
   * @param {Version} version
   * @param {Uint32Array} map
   * @param {Iterable<number>} [pages]
   * @returns {Steps<void>}
   */
  *put({ size, at }, map, pages) {
    const all = mapBytes(size);
    if (pages === undefined) yield this.#file.write(at, inBytes(map, 0, all));
    for (const page of pages ?? []) yield this.#file.write(at + page * PAGE, inBytes(map, page * PAGE, PAGE));
    yield this.#file.flush();
  }

  close() {
    return this.#file.close();
  }
}

/** Part of a map as it is in the index. @param {Uint32Array} map @param {number} offset @param {number} length */
function inBytes(map, offset, length) {
  const bytes = new Uint8Array(length);
  const numbers = new DataView(bytes.buffer);
  map.subarray(offset / 4, (offset + length) / 4).forEach((chunk, i) => numbers.setUint32(i * 4, chunk, true));
  return bytes;
}

/** @param {Head} head */
function encoded(head) {
  const text = new TextEncoder().encode(JSON.stringify(head));
  if (text.length > HEAD - PREFIX) throw new AuroraError("the disk has too many snapshots", { name: "ENOSPC", number: 28 });
  const bytes = new Uint8Array(HEAD);
  const numbers = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(MAGIC));
  bytes.set(text, PREFIX);
  numbers.setUint32(8, VERSION, true);
  numbers.setUint32(12, crc32(text), true);
  numbers.setUint32(16, text.length, true);
  return bytes;
}

/** @param {Uint8Array<ArrayBuffer>} bytes @returns {Head | undefined} */
function decoded(bytes) {
  const numbers = new DataView(bytes.buffer);
  const length = numbers.getUint32(16, true);
  if (new TextDecoder("latin1").decode(bytes.subarray(0, 8)) !== MAGIC || length > HEAD - PREFIX) return undefined;
  const text = bytes.subarray(PREFIX, PREFIX + length);
  if (numbers.getUint32(12, true) !== crc32(text)) return undefined;
  if (numbers.getUint32(8, true) !== VERSION) throw new AuroraError("the disk was kept by a newer version of this system");
  return JSON.parse(new TextDecoder().decode(text));
}

/** The checksum of IEEE 802.3, as gzip has it. @param {Uint8Array} bytes */
function crc32(bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
