// A disk that begins as a published image and is fetched as it is touched.
//
// `aurora image publish` cuts an image into chunks and names each packed one after its SHA-256; a signed manifest lists
// them. What is read for the first time is fetched, verified, and kept on the local disk, which is what everybody else's
// disk is: a file of the origin, a database, an image file. What is written goes there at once. So one mechanism is the
// cache for times without a network and the writable layer over the image.
//
// The local disk holds: a page that says what it is, the manifest, a bit for each page of the image that is here, and the
// image's pages, each section from a multiple of a page on. What always holds: a page whose bit is on the disk is there
// itself, since bits are written after a flush of what they are about.
import { AuroraError } from "./error.js";

/** @import { Disk, DiskOptions, Published } from "./types.js" */

const PAGE = 4096;
const MAGIC = "AURORAPD";
const MANIFEST_MAGIC = "AURORAIM";
const VERSION = 1;
/** Bytes of the manifest before the hashes, of a hash, and of the signature after them. */
const HEAD = 24;
const HASH = 32;
const SIGNATURE = 64;
/** The most a manifest may have: of an image of 128 GiB. */
const MAX_MANIFEST = 64 << 20;
/** How long what was fetched may wait to be known as here, in milliseconds. */
const SOON = 1000;
/** How many chunks that nobody waits for are fetched side by side. */
const LANES = 4;

/** @param {number} bytes */
const whole = (bytes) => Math.ceil(bytes / PAGE) * PAGE;
const text = (/** @type {Uint8Array} */ bytes) => new TextDecoder("latin1").decode(bytes);
const hex = (/** @type {Uint8Array} */ bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

/** @param {string} digits */
function fromHex(digits) {
  if (!/^[0-9a-f]{64}$/i.test(digits)) throw new AuroraError("a key has 64 hexadecimal digits");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
const sha256 = async (bytes) => new Uint8Array(await subtle().digest("SHA-256", bytes));

function subtle() {
  if (!globalThis.crypto?.subtle) throw new AuroraError("published images need a secure context: https or loopback");
  return crypto.subtle;
}

/** What an image is made of. */
class Manifest {
  /** @param {Uint8Array<ArrayBuffer>} bytes */
  constructor(bytes) {
    const numbers = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const isOne = bytes.length >= HEAD + SIGNATURE && text(bytes.subarray(0, 8)) === MANIFEST_MAGIC;
    if (!isOne || numbers.getUint32(8, true) !== VERSION) throw new AuroraError("this is no manifest of an image");
    this.bytes = bytes;
    this.chunk = numbers.getUint32(12, true);
    this.size = Number(numbers.getBigUint64(16, true));
    const count = Math.ceil(this.size / this.chunk);
    const isRight = this.chunk % PAGE === 0 && this.size % PAGE === 0 && count > 0;
    if (!isRight || bytes.length !== HEAD + count * HASH + SIGNATURE) {
      throw new AuroraError("the manifest of the image is damaged");
    }
  }

  /** The hash of a packed chunk; none if all of the chunk is zero. @param {number} chunk */
  hash(chunk) {
    const hash = this.bytes.subarray(HEAD + chunk * HASH, HEAD + (chunk + 1) * HASH);
    return hash.some((byte) => byte !== 0) ? hash : undefined;
  }

  /** Fails if nobody with this key signed it. @param {string} key */
  async verify(key) {
    const known = await subtle().importKey("raw", fromHex(key), "Ed25519", false, ["verify"]);
    const end = this.bytes.length - SIGNATURE;
    const isSigned = await subtle().verify("Ed25519", known, this.bytes.subarray(end), this.bytes.subarray(0, end));
    if (!isSigned) throw new AuroraError("the manifest of the image is not signed with the key that was given");
  }
}

/**
 * What is at the beginning of a local disk that begins as the image of `manifest`: all before the image's pages.
 * @param {Manifest} manifest
 */
function beginning({ bytes, size }) {
  const { map, data } = layout(bytes.length, size);
  const all = new Uint8Array(data);
  all.set(new TextEncoder().encode(MAGIC));
  const numbers = new DataView(all.buffer);
  numbers.setUint32(8, VERSION, true);
  numbers.setUint32(12, bytes.length, true);
  all.set(bytes, PAGE);
  return { all, map };
}

/** @param {number} manifest @param {number} size */
function layout(manifest, size) {
  const map = PAGE + whole(manifest);
  return { map, data: map + whole(Math.ceil(size / PAGE / 8)) };
}

/**
 * Does `act` after what may be a promise.
 * @param {void | Promise<void>} before
 * @param {() => void | Promise<void>} act
 * @returns {void | Promise<void>}
 */
const after = (before, act) => (before ? before.then(act) : act());

/** A local disk with what is published under it. */
export class PublishedDisk {
  takesTime = true;
  #local;
  #manifest;
  #map;
  #at;
  #fetch;
  #trouble;
  /** Pages of the map that are not on the local disk as they are here. @type {Set<number>} */
  #changed = new Set();
  /** Chunks on their way. @type {Map<number, Promise<void>>} */
  #coming = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #later;

  /**
   * @param {Disk} local
   * @param {Manifest} manifest
   * @param {Uint8Array} map
   * @param {(chunk: string, again: boolean) => Promise<Response>} fetch
   * @param {(message: string) => void} trouble hears why something could not be read
   */
  constructor(local, manifest, map, fetch, trouble) {
    this.#local = local;
    this.#manifest = manifest;
    this.#map = map;
    this.#at = layout(manifest.bytes.length, manifest.size);
    this.#fetch = fetch;
    this.#trouble = trouble;
    this.size = manifest.size;
    this.store = local.store;
    this.readOnly = local.readOnly;
  }

  /** Whether a transfer is done when it returns. @param {boolean} reads @param {number} offset @param {number} length */
  answersNow(reads, offset, length) {
    if (this.#local.takesTime) return false;
    if (!reads && offset % PAGE === 0 && length % PAGE === 0) return true;
    return this.#missing(offset, length).next().done === true;
  }

  /** @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes */
  read(offset, bytes) {
    const read = () => this.#local.read(this.#at.data + offset, bytes);
    return after(this.#bring(offset, bytes.length), read);
  }

  /** @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes */
  write(offset, bytes) {
    // Of a page that is written in part the rest has to be there.
    const ends = [offset, offset + bytes.length].filter((end) => end % PAGE !== 0).map((end) => end - (end % PAGE));
    const missing = ends.map((page) => this.#bring(page, PAGE)).filter((brought) => brought !== undefined);
    return after(missing.length > 0 ? Promise.all(missing).then(() => {}) : undefined, () => this.#put(offset, bytes));
  }

  /** Writes, and notes that what was written is here. @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes */
  #put(offset, bytes) {
    /** @type {number[]} */
    const fresh = [];
    for (let page = Math.floor(offset / PAGE); page * PAGE < offset + bytes.length; page++) {
      if (!this.#has(page)) fresh.push(page);
    }
    // Noted first: a chunk that comes meanwhile must not replace what is being written.
    for (const page of fresh) this.#note(page, true);
    const failed = (/** @type {unknown} */ error) => {
      for (const page of fresh) this.#note(page, false);
      throw error;
    };
    try {
      return this.#local.write(this.#at.data + offset, bytes)?.catch(failed);
    } catch (error) {
      return failed(error);
    }
  }

  flush() {
    clearTimeout(this.#later);
    this.#later = undefined;
    if (this.#changed.size === 0) return this.#local.flush();
    // As it is now: what changes while the first flush is under way is for the next.
    const pages = [...this.#changed].map((page) => ({
      at: page * PAGE,
      bytes: this.#map.slice(page * PAGE, (page + 1) * PAGE),
    }));
    this.#changed.clear();
    const save = () => {
      const writes = pages.map(({ at, bytes }) => this.#local.write(this.#at.map + at, bytes));
      const waiting = writes.filter((write) => write !== undefined);
      return after(waiting.length > 0 ? Promise.all(waiting).then(() => {}) : undefined, () => this.#local.flush());
    };
    const failed = (/** @type {unknown} */ error) => {
      for (const { at } of pages) this.#changed.add(at / PAGE);
      throw error;
    };
    try {
      return after(this.#local.flush(), save)?.catch(failed);
    } catch (error) {
      return failed(error);
    }
  }

  /** Fetches what nobody touched yet: from then on nothing else is needed. */
  async complete() {
    const rest = this.#missing(0, this.size);
    const lane = async () => {
      for (const chunk of rest) await this.#come(chunk);
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    await this.flush();
  }

  async close() {
    await this.flush();
    await this.#local.close();
  }

  /** Those of the local disk: what is not here is not in them either. */
  get snapshots() {
    const { snapshots } = this.#local;
    return (
      snapshots && {
        ...snapshots,
        make: async (/** @type {string} */ name, /** @type {() => void} */ at) => {
          await this.flush();
          return snapshots.make(name, at);
        },
      }
    );
  }

  /** Whether a page is here, or zero. @param {number} page */
  #has(page) {
    const here = (this.#map[page >> 3] >> (page & 7)) & 1;
    return here === 1 || this.#manifest.hash(Math.floor((page * PAGE) / this.#manifest.chunk)) === undefined;
  }

  /** @param {number} page @param {boolean} here */
  #note(page, here) {
    if (here) this.#map[page >> 3] |= 1 << (page & 7);
    else this.#map[page >> 3] &= ~(1 << (page & 7));
    this.#changed.add(Math.floor((page >> 3) / PAGE));
  }

  /** The chunks a range needs that are not here whole. @param {number} offset @param {number} length */
  *#missing(offset, length) {
    const perChunk = this.#manifest.chunk / PAGE;
    const end = Math.ceil((offset + length) / PAGE);
    for (let page = Math.floor(offset / PAGE); page < end; page++) {
      if (this.#has(page)) continue;
      const chunk = Math.floor(page / perChunk);
      yield chunk;
      page = (chunk + 1) * perChunk - 1;
    }
  }

  /** @param {number} offset @param {number} length @returns {Promise<void> | undefined} */
  #bring(offset, length) {
    const chunks = [...this.#missing(offset, length)];
    if (chunks.length === 0) return undefined;
    return Promise.all(chunks.map((chunk) => this.#come(chunk))).then(() => {});
  }

  /** @param {number} chunk */
  #come(chunk) {
    const coming = this.#coming.get(chunk) ?? this.#load(chunk).finally(() => this.#coming.delete(chunk));
    this.#coming.set(chunk, coming);
    return coming;
  }

  /** @param {number} chunk */
  async #load(chunk) {
    const start = chunk * this.#manifest.chunk;
    const bytes = await this.#unpacked(chunk, Math.min(this.#manifest.chunk, this.size - start)).catch((error) => {
      const message = `bytes ${start} to ${start + this.#manifest.chunk} of the image: ${error.message}`;
      this.#trouble(message);
      throw new AuroraError(message);
    });
    const page = start / PAGE;
    const count = bytes.length / PAGE;
    for (let i = 0; i < count; ) {
      let end = i;
      while (end < count && !this.#has(page + end)) end++;
      if (end > i) {
        await this.#put(start + i * PAGE, bytes.subarray(i * PAGE, end * PAGE));
        this.#later ??= setTimeout(() => this.#save(), SOON);
      }
      i = end + 1;
    }
  }

  /** What cannot be saved now is still unsaved at the next flush, whose error somebody hears. */
  #save() {
    try {
      this.flush()?.catch(() => {});
    } catch {
      // See above.
    }
  }

  /**
   * A chunk as it was published. A cache on the way may have kept something else: it is asked for once more.
   * @param {number} chunk
   * @param {number} length
   */
  async #unpacked(chunk, length) {
    const hash = /** @type {Uint8Array} */ (this.#manifest.hash(chunk));
    const name = hex(hash);
    let packed = await this.#packed(name, false);
    if (!packed) packed = await this.#packed(name, true);
    if (!packed) throw new AuroraError(`what came for chunk ${name} is not what was published`);
    const stream = /** @type {ReadableStream} */ (new Blob([packed]).stream());
    const unpacker = /** @type {any} */ (new DecompressionStream("gzip"));
    const bytes = new Uint8Array(await new Response(stream.pipeThrough(unpacker)).arrayBuffer());
    if (bytes.length !== length) throw new AuroraError(`chunk ${name} has ${bytes.length} bytes in place of ${length}`);
    return bytes;
  }

  /** A chunk's file, if it is what its name says. @param {string} name @param {boolean} again */
  async #packed(name, again) {
    const response = await this.#fetch(`chunks/${name.slice(0, 2)}/${name}`, again);
    const bytes = new Uint8Array(await response.arrayBuffer());
    return hex(await sha256(bytes)) === name ? bytes : undefined;
  }
}

/**
 * Opens a disk over what is published at `base`; `openLocal` opens or makes the local one.
 * @param {DiskOptions & { base: Published }} options
 * @param {(made?: { size: number, image: () => Promise<ReadableStream<Uint8Array>> }) => Promise<Disk>} openLocal
 * @param {(place: string, init?: RequestInit) => Promise<Response>} fetch
 * @param {(message: string) => void} trouble
 * @returns {Promise<Disk>}
 */
export async function openPublished({ name, base, image, replace }, openLocal, fetch, trouble) {
  const ask = async (/** @type {string} */ place, /** @type {boolean} */ again) => {
    const url = new URL(place, base.url).href;
    const response = await fetch(url, again ? { cache: "reload" } : {}).catch((error) => {
      throw new AuroraError(`${url} cannot be fetched: ${error.message}`);
    });
    if (!response.ok) throw new AuroraError(`${url} cannot be fetched: ${response.status} ${response.statusText}`);
    return response;
  };
  const make = async () => {
    const manifest = new Manifest(await limited(await ask("manifest", true)));
    await manifest.verify(base.key);
    const { all } = beginning(manifest);
    return openLocal({ size: all.length + manifest.size, image: async () => new Blob([all]).stream() });
  };
  // A copy of such a disk may be what it is made of anew.
  const isNew = replace && image === undefined;
  const local = isNew ? await make() : await openLocal().catch((error) => (error.code === "ENOENT" ? make() : Promise.reject(error)));
  try {
    const head = new Uint8Array(PAGE);
    await local.read(0, head);
    // It was replaced by an ordinary image.
    if (!isPublished(head)) return local;
    const length = new DataView(head.buffer).getUint32(12, true);
    if (length > MAX_MANIFEST || PAGE + length > local.size) throw new AuroraError(`the disk ${name} is damaged`);
    const bytes = new Uint8Array(length);
    await local.read(PAGE, bytes);
    // It was believed when the disk was made. The publisher's key may be another by now, and what is on the disk stays.
    const manifest = new Manifest(bytes);
    const { map, data } = layout(length, manifest.size);
    if (data + manifest.size > local.size) throw new AuroraError(`the disk ${name} is damaged: it is too short`);
    const bits = new Uint8Array(data - map);
    await local.read(map, bits);
    return new PublishedDisk(local, manifest, bits, ask, trouble);
  } catch (error) {
    await local.close();
    throw error;
  }
}

/** Whether a disk's first page is of one that begins as a published image. @param {Uint8Array} head */
export const isPublished = (head) => text(head.subarray(0, 8)) === MAGIC;

/**
 * Where in a copy of such a disk the image is; a copy of any other is one itself. Fails if not all of it is there.
 * @param {number} size
 * @param {(start: number, length: number) => Promise<Uint8Array<ArrayBuffer>>} read
 * @returns {Promise<{ start: number, end: number }>}
 */
export async function plainImage(size, read) {
  const head = await read(0, Math.min(size, PAGE));
  if (!isPublished(head)) return { start: 0, end: size };
  const length = new DataView(head.buffer).getUint32(12, true);
  const manifest = new Manifest(await read(PAGE, Math.min(length, MAX_MANIFEST)));
  const { map, data } = layout(length, manifest.size);
  const here = await read(map, data - map);
  const perChunk = manifest.chunk / PAGE;
  for (let page = 0; page < manifest.size / PAGE; page++) {
    if ((here[page >> 3] >> (page & 7)) & 1 || !manifest.hash(Math.floor(page / perChunk))) continue;
    throw new AuroraError("not all of the disk has come from the network yet");
  }
  return { start: data, end: data + manifest.size };
}

/** @param {Response} response */
async function limited(response) {
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes.length > MAX_MANIFEST) throw new AuroraError("the manifest of the image is too large");
  return bytes;
}
