// What a machine's module asks of its disks: a request is done at once where the disk can, or ends later.
//
// A disk that takes its time works on bytes of its own: the machine's memory may move meanwhile.

/** @import { Disk } from "./types.js" */

const READ = 0;
const WRITE = 1;
const FLUSH = 2;

const DONE = 0;
const IO = 1;
const NO_SPACE = 2;
const READ_ONLY = 3;
const LATER = 4;

/**
 * What the machine is told of an error: full is what the host, a quota or the browser calls so.
 * @param {any} error
 */
function answer(error) {
  if (["ENOSPC", "EDQUOT"].includes(error.code) || error.name === "QuotaExceededError") return NO_SPACE;
  return ["EROFS", "EBADF"].includes(error.code) ? READ_ONLY : IO;
}

export class DiskQueue {
  #disks;
  #machine;
  /** Requests that end later. */
  #waiting = 0;

  /**
   * `bytes` is a view of the machine's memory, as long as it does not grow; `done` hears of what ended later.
   * @param {Disk[]} disks
   * @param {{ bytes: (at: number, length: number) => Uint8Array<ArrayBuffer>,
   *   done: (disk: number, tag: number, answer: number) => void }} machine
   */
  constructor(disks, machine) {
    this.#disks = disks;
    this.#machine = machine;
  }

  /** Whether all answer at once, as far as can be told. */
  get answer() {
    return this.#waiting === 0 && this.#disks.every((disk) => !disk.takesTime || disk.answersNow);
  }

  /** The functions the module imports. */
  get imports() {
    return {
      disk_count: () => this.#disks.length,
      disk_size: (/** @type {number} */ disk) => this.#disks[disk].size,
      disk_is_read_only: (/** @type {number} */ disk) => Number(this.#disks[disk].readOnly),
      disk_start: (/** @type {[number, number, number, number, number, number]} */ ...request) =>
        this.#start(...request),
    };
  }

  /**
   * @param {number} number
   * @param {number} tag
   * @param {number} op
   * @param {number} offset
   * @param {number} at
   * @param {number} length
   */
  #start(number, tag, op, offset, at, length) {
    try {
      const disk = this.#disks[number];
      const bytes = this.#machine.bytes(at, length);
      if (!disk.takesTime || (op !== FLUSH && disk.answersNow?.(op === READ, offset, length))) {
        perform(disk, op, offset, bytes);
        return DONE;
      }
      const own = op === WRITE ? bytes.slice() : new Uint8Array(length);
      const performed = perform(disk, op, offset, own);
      // A flush has no bytes that could move.
      if (op === FLUSH && !performed) return DONE;
      const done = (/** @type {number} */ answer) => {
        this.#waiting -= 1;
        this.#machine.done(number, tag, answer);
      };
      this.#waiting += 1;
      Promise.resolve(performed).then(
        () => {
          if (op === READ) this.#machine.bytes(at, length).set(own);
          done(DONE);
        },
        (error) => done(answer(error)),
      );
      return LATER;
    } catch (error) {
      return answer(error);
    }
  }
}

/**
 * @param {Disk} disk
 * @param {number} op
 * @param {number} offset
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
function perform(disk, op, offset, bytes) {
  if (op === READ) return disk.read(offset, bytes);
  return op === WRITE ? disk.write(offset, bytes) : disk.flush();
}
