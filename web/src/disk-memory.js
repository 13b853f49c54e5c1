// A disk that is in memory and goes with its machine.

import { fill } from "./disk-copy.js";
import { AuroraError } from "./error.js";

/** @import { Opened } from "./disk-copy.js" */
/** @import { DiskOptions, DiskStore } from "./types.js" */

const BLOCK = 65536;

export class MemoryDisk {
  takesTime = false;
  readOnly = false;
  store = /** @type {DiskStore} */ ("memory");
  /** What was ever written, by number of the block. @type {Map<number, Uint8Array>} */
  #blocks = new Map();

  /** @param {number} size */
  constructor(size) {
    this.size = size;
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  read(offset, bytes) {
    for (const { block, from, part } of parts(offset, bytes, BLOCK)) {
      const held = this.#blocks.get(block);
      if (held) part.set(held.subarray(from, from + part.length));
      else part.fill(0);
    }
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  write(offset, bytes) {
    for (const { block, from, part } of parts(offset, bytes, BLOCK)) {
      let held = this.#blocks.get(block);
      if (!held) this.#blocks.set(block, (held = new Uint8Array(BLOCK)));
      held.set(part, from);
    }
  }

  flush() {}

  close() {
    this.#blocks.clear();
  }
}

/**
 * The blocks a transfer touches, and which part of it goes where in each.
 * @param {number} offset
 * @param {Uint8Array} bytes
 * @param {number} size
 */
export function* parts(offset, bytes, size) {
  for (let done = 0; done < bytes.length; ) {
    const at = offset + done;
    const from = at % size;
    const length = Math.min(size - from, bytes.length - done);
    yield { block: Math.floor(at / size), from, part: bytes.subarray(done, done + length) };
    done += length;
  }
}

/** @param {string} name */
export const missing = (name) => new AuroraError(`there is no disk ${name}`, { name: "ENOENT", number: 2 });

/**
 * @param {DiskOptions} options
 * @param {Opened} image
 */
export async function openMemory({ name, size = 0 }, image) {
  const disk = new MemoryDisk(size);
  const length = image ? await fill(disk, image) : 0;
  if (length + size === 0) throw missing(name);
  disk.size = Math.max(size, length);
  return disk;
}
