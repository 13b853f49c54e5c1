// Copies of whole disks. Pages of zeros are not written: a disk is mostly empty, and what was never written reads so.

/** @import { Disk } from "./types.js" */

const PAGE = 4096;
/** Bytes written at a time, at most. */
const RUN = 1 << 20;
/** Bytes of a blob read at a time. */
const SLICE = 4 << 20;

/** An image's bytes as they come; none if there is no image. @typedef {(() => Promise<ReadableStream<Uint8Array>>) | undefined} Opened */

/** @param {Uint8Array} bytes */
export function isZero(bytes) {
  const words = bytes.byteOffset % 4 === 0 ? bytes.length >> 2 : 0;
  const view = new Uint32Array(bytes.buffer, bytes.byteOffset - (bytes.byteOffset % 4), words);
  for (let i = 0; i < words; i++) if (view[i] !== 0) return false;
  for (let i = words * 4; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/**
 * Where the pages of `bytes` that hold something are: runs of them, as offsets.
 * @param {Uint8Array} bytes
 */
export function* runs(bytes) {
  let start = -1;
  for (let at = 0; at < bytes.length; at += PAGE) {
    const empty = isZero(bytes.subarray(at, at + PAGE));
    if (empty && start >= 0) yield [start, at];
    if (empty) start = -1;
    else if (start < 0) start = at;
  }
  if (start >= 0) yield [start, bytes.length];
}

/**
 * A blob's bytes. Its own stream gives 64 KiB at a time, each by way of another process.
 * @param {Blob} blob
 * @returns {ReadableStream<Uint8Array>}
 */
export function inSlices(blob) {
  let at = 0;
  return new ReadableStream({
    async pull(controller) {
      if (at >= blob.size) return controller.close();
      const slice = blob.slice(at, at + SLICE);
      at += slice.size;
      controller.enqueue(new Uint8Array(await slice.arrayBuffer()));
    },
  });
}

/**
 * A stream's bytes in pieces of one size, but for the last.
 * @param {ReadableStream<Uint8Array>} stream
 */
async function* pieces(stream) {
  let piece = new Uint8Array(RUN);
  let filled = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    for (let taken = 0; taken < value.length; ) {
      const count = Math.min(RUN - filled, value.length - taken);
      piece.set(value.subarray(taken, taken + count), filled);
      [filled, taken] = [filled + count, taken + count];
      if (filled < RUN) continue;
      yield piece;
      [piece, filled] = [new Uint8Array(RUN), 0];
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

/** The first bytes of gzip's format. */
const GZIP = [0x1f, 0x8b];

/**
 * What a stream holds, unpacked if it is packed with gzip.
 * @param {ReadableStream<Uint8Array>} stream
 * @returns {Promise<ReadableStream<Uint8Array>>}
 */
async function unpacked(stream) {
  const reader = stream.getReader();
  const first = await reader.read();
  const isPacked = GZIP.every((byte, i) => first.value?.[i] === byte);
  let next = /** @type {typeof first | undefined} */ (first);
  const whole = new ReadableStream({
    async pull(controller) {
      const { done, value } = next ?? (await reader.read());
      next = undefined;
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
  return isPacked ? whole.pipeThrough(/** @type {any} */ (new DecompressionStream("gzip"))) : whole;
}

/**
 * Writes an image to a disk that holds nothing yet; returns how long it is.
 * @param {Pick<Disk, "write">} disk
 * @param {NonNullable<Opened>} image
 */
export async function fill(disk, image) {
  let at = 0;
  for await (const piece of pieces(await unpacked(await image()))) {
    for (const [start, end] of runs(piece)) await disk.write(at + start, piece.subarray(start, end));
    at += piece.length;
  }
  return at;
}
