// Snapshots: a machine's memory without the pages that hold only zeros, which are most of it.
//
// A snapshot fits the build of the kernel it was made with and no other: it begins with that build's id.
import { AuroraError } from "./error.js";

const MAGIC = encodeMagic("AURORA\x01\0");
const PAGE = 4096;

/** @param {string} text */
function encodeMagic(text) {
  return new TextEncoder().encode(text);
}

/** @param {BigUint64Array} words */
const isZero = (words) => words.every((word) => word === 0n);

/**
 * Magic, length of the build id u32, pages of memory u32, build id, a bit for each page, then the pages whose bit is
 * set.
 * @param {ArrayBuffer} memory
 * @param {Uint8Array} build
 */
export function pack(memory, build) {
  const pages = memory.byteLength / PAGE;
  const kept = [];
  const bits = new Uint8Array(Math.ceil(pages / 8));
  for (let page = 0; page < pages; page++) {
    if (isZero(new BigUint64Array(memory, page * PAGE, PAGE / 8))) continue;
    bits[page >> 3] |= 1 << (page & 7);
    kept.push(page);
  }
  const head = MAGIC.length + 8;
  const snapshot = new Uint8Array(head + build.length + bits.length + kept.length * PAGE);
  snapshot.set(MAGIC);
  const numbers = new DataView(snapshot.buffer);
  numbers.setUint32(MAGIC.length, build.length, true);
  numbers.setUint32(MAGIC.length + 4, pages, true);
  snapshot.set(build, head);
  snapshot.set(bits, head + build.length);
  let at = head + build.length + bits.length;
  for (const page of kept) {
    snapshot.set(new Uint8Array(memory, page * PAGE, PAGE), at);
    at += PAGE;
  }
  return snapshot;
}

/**
 * Writes a snapshot into a memory that may be grown.
 * @param {Uint8Array} snapshot
 * @param {WebAssembly.Memory} memory
 * @param {Uint8Array} build
 */
export function unpack(snapshot, memory, build) {
  const head = MAGIC.length + 8;
  if (snapshot.length < head || MAGIC.some((byte, i) => snapshot[i] !== byte)) {
    throw new AuroraError("this is no snapshot of a machine");
  }
  const numbers = new DataView(snapshot.buffer, snapshot.byteOffset);
  const [buildLength, pages] = [0, 4].map((at) => numbers.getUint32(MAGIC.length + at, true));
  const made = snapshot.subarray(head, head + buildLength);
  if (made.length !== build.length || made.some((byte, i) => byte !== build[i])) {
    throw new AuroraError("the snapshot was made with another build of the kernel");
  }
  const bits = snapshot.subarray(head + buildLength, head + buildLength + Math.ceil(pages / 8));
  const isKept = (/** @type {number} */ page) => (bits[page >> 3] >> (page & 7)) & 1;
  let at = head + buildLength + bits.length;
  const kept = Array.from({ length: pages }, (_, page) => page).filter(isKept);
  if (snapshot.length !== at + kept.length * PAGE) throw new AuroraError("the snapshot is not whole");
  const missing = pages * PAGE - memory.buffer.byteLength;
  // What the module itself starts with must go; what is grown is zero.
  new Uint8Array(memory.buffer).fill(0);
  if (missing > 0) memory.grow(missing / 65536);
  const target = new Uint8Array(memory.buffer);
  for (const page of kept) {
    target.set(snapshot.subarray(at, at + PAGE), page * PAGE);
    at += PAGE;
  }
}
