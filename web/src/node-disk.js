// Disks in Node: image files.
import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { fill } from "./disk-copy.js";
import { openMemory } from "./disk-memory.js";
import { AuroraError } from "./error.js";

/** @import { Disk, DiskOptions } from "./types.js" */

const SECTOR = 512;

/** An image file as a disk. */
class FileDisk {
  takesTime = false;
  store = /** @type {const} */ ("file");

  /**
   * @param {number} file
   * @param {number} size
   * @param {boolean} readOnly
   */
  constructor(file, size, readOnly) {
    this.file = file;
    this.size = size;
    this.readOnly = readOnly;
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  read(offset, bytes) {
    for (let done = 0; done < bytes.length; ) {
      const count = readSync(this.file, bytes, done, bytes.length - done, offset + done);
      if (count === 0) throw new AuroraError("the image file has become shorter");
      done += count;
    }
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  write(offset, bytes) {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.file, bytes, done, bytes.length - done, offset + done);
    }
  }

  flush() {
    fdatasyncSync(this.file);
  }

  close() {
    closeSync(this.file);
  }
}

/** @param {any} error */
const isRefused = (error) => ["EACCES", "EPERM", "EROFS"].includes(error.code);

/**
 * Opens an image, for reading alone if it cannot be written.
 * @param {string} path
 * @param {boolean} readOnly
 */
function openImage(path, readOnly) {
  if (!readOnly) {
    try {
      return { file: openSync(path, "r+"), readOnly };
    } catch (error) {
      if (!isRefused(error)) throw error;
    }
  }
  return { file: openSync(path, "r"), readOnly: true };
}

/**
 * Whether nobody else has the image. Node itself has no flock(2); flock(1) locks the open file it inherits, which is
 * ours, and the lock stays when it has ended. Where there is no such program, nobody is kept away.
 * @param {number} file
 */
function lock(file) {
  const stdio = /** @type {any} */ (["ignore", "ignore", "ignore", file]);
  const { error, status } = spawnSync("flock", ["--nonblock", "3"], { stdio });
  return error !== undefined || status === 0;
}

/**
 * @param {DiskOptions} options
 * @param {import("./disk-copy.js").Opened} image
 * @returns {Promise<Disk>}
 */
export async function openDisk({ name, readOnly = false, size, replace, store }, image) {
  if (store === "memory") return openMemory({ name, size }, image);
  try {
    if ((image || size !== undefined) && (replace || !existsSync(name))) await create(name, size, image);
    return openFile(name, readOnly);
  } catch (/** @type {any} */ error) {
    if (error instanceof AuroraError) throw error;
    throw new AuroraError(`the disk ${name}: ${error.message}`, { name: error.code, number: -error.errno });
  }
}

/**
 * @param {string} path
 * @param {boolean} asked
 */
function openFile(path, asked) {
  const { file, readOnly } = openImage(path, asked);
  if (!readOnly && !lock(file)) {
    closeSync(file);
    throw new AuroraError(`the disk ${path} is in use by another machine`, { name: "EBUSY", number: 16 });
  }
  return new FileDisk(file, fstatSync(file).size - (fstatSync(file).size % SECTOR), readOnly);
}

/**
 * Makes an image that is there as a whole or not at all.
 * @param {string} path
 * @param {number | undefined} size
 * @param {import("./disk-copy.js").Opened} image
 */
async function create(path, size, image) {
  const part = `${path}.part`;
  const file = openSync(part, constants.O_CREAT | constants.O_TRUNC | constants.O_RDWR, 0o644);
  const disk = new FileDisk(file, size ?? 0, false);
  try {
    const length = image ? await fill(disk, image) : 0;
    ftruncateSync(file, Math.max(size ?? 0, length));
    disk.flush();
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  } finally {
    disk.close();
  }
}
