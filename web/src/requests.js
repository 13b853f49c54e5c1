// File calls made of the link's requests. They run in the worker, so a large file is one message to the page and not
// hundreds.
import { AuroraError } from "./error.js";

/** @import { Link } from "./link.js" */
/** @import { DirectoryEntry, FileKind, Stats, WatchEvent, WatchKind } from "./types.js" */

// Operations, abi/src/link/request.rs.
const OPEN = 1;
const CLOSE = 2;
const READ = 3;
const WRITE = 4;
const READ_DIRECTORY = 5;
const STAT = 6;
const MAKE_DIRECTORY = 7;
const REMOVE = 8;
const RENAME = 9;
const MAKE_LINK = 10;
const CHANGE_MODE = 11;
const WATCH = 12;
const UNWATCH = 13;
/** The most bytes one request moves. */
const MAX_TRANSFER = 65536 - 12;

// Flags of open(2).
const O_WRONLY = 0o1;
const O_CREAT = 0o100;
const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
const O_DIRECTORY = 0o200000;
const O_NOFOLLOW = 0o400000;

// Events of inotify(7), and what they are to whoever watches: one is told of what is new under a name, whichever way it
// came there.
const IN_MODIFY = 0x2;
const IN_ATTRIB = 0x4;
const IN_MOVED_FROM = 0x40;
const IN_MOVED_TO = 0x80;
const IN_CREATE = 0x100;
const IN_DELETE = 0x200;
const IN_MOVE_SELF = 0x800;
const IN_Q_OVERFLOW = 0x4000;
const IN_IGNORED = 0x8000;
/** @type {[number, WatchKind | "end"][]} */
const WATCHED = [
  [IN_CREATE | IN_MOVED_TO, "created"],
  [IN_MODIFY | IN_ATTRIB, "changed"],
  [IN_DELETE | IN_MOVED_FROM | IN_MOVE_SELF, "removed"],
  [IN_Q_OVERFLOW, "lost"],
  [IN_IGNORED, "end"],
];
const ASKED = WATCHED.reduce((all, [mask]) => all | mask, 0) & 0xfff;

const S_IFMT = 0o170000;
/** By the type bits of a mode, which `d_type` of a directory entry has as well. @type {Record<number, FileKind>} */
const KINDS = {
  1: "fifo",
  2: "character device",
  4: "directory",
  6: "block device",
  8: "file",
  10: "link",
  12: "socket",
};

const NOTHING = new Uint8Array();
const encode = (/** @type {string} */ path) => new TextEncoder().encode(path);
const is = (/** @type {unknown} */ error, /** @type {string} */ code) =>
  error instanceof AuroraError && error.code === code;

export class Requests {
  #link;
  /** Descriptors that are watched with, and whether somebody waits for events. @type {Map<number, { fd: number, isRead: boolean }>} */
  #watches = new Map();
  #lastWatch = 0;

  /** @param {Link} link */
  constructor(link) {
    this.#link = link;
  }

  /**
   * Errors say which path they are about.
   * @param {number} operation
   * @param {number} a
   * @param {number} b
   * @param {string} path
   */
  async #onPath(operation, a, b, path) {
    try {
      return await this.#link.request(operation, a, b, encode(path));
    } catch (error) {
      if (error instanceof AuroraError) error.message += `: ${path}`;
      throw error;
    }
  }

  /**
   * The same with two paths, of which the first number tells the first.
   * @param {number} operation
   * @param {string} first
   * @param {string} second
   */
  async #onPaths(operation, first, second) {
    try {
      await this.#link.request(operation, encode(first).length, 0, encode(first + second));
    } catch (error) {
      if (error instanceof AuroraError) error.message += `: ${first}, ${second}`;
      throw error;
    }
  }

  /**
   * Opens a file, works with its descriptor, and closes it.
   * @template T
   * @param {string} path
   * @param {number} flags
   * @param {number} mode
   * @param {(fd: number) => Promise<T>} work
   */
  async #opened(path, flags, mode, work) {
    const fd = toNumber(await this.#onPath(OPEN, flags, mode, path));
    try {
      return await work(fd);
    } finally {
      await this.#link.request(CLOSE, fd, 0, NOTHING);
    }
  }

  /**
   * Repeats a request until its answer is empty.
   * @param {() => Promise<Uint8Array>} request
   */
  async #all(request) {
    const parts = [];
    for (let part = await request(); part.length > 0; part = await request()) parts.push(part);
    return parts;
  }

  /** @param {string} path */
  readFile(path) {
    return this.#opened(path, 0, 0, async (fd) =>
      join(await this.#all(() => this.#link.request(READ, fd, MAX_TRANSFER, NOTHING))),
    );
  }

  /** @param {string} path @param {Uint8Array} bytes @param {number} mode @param {boolean} append */
  writeFile(path, bytes, mode, append) {
    return this.#opened(path, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), mode, async (fd) => {
      for (let at = 0; at < bytes.length;) {
        at += toNumber(await this.#link.request(WRITE, fd, 0, bytes.subarray(at, at + MAX_TRANSFER)));
      }
    });
  }

  /** @param {string} path @returns {Promise<DirectoryEntry[]>} */
  readdir(path) {
    return this.#list(path, O_DIRECTORY);
  }

  /** @param {string} path @param {number} flags */
  #list(path, flags) {
    return this.#opened(path, flags, 0, async (fd) => {
      const parts = await this.#all(() => this.#link.request(READ_DIRECTORY, fd, 0, NOTHING));
      return parts.flatMap(entries).sort((a, b) => (a.name < b.name ? -1 : 1));
    });
  }

  /** @param {string} path @param {number} mode @param {boolean} recursive */
  async mkdir(path, mode, recursive) {
    try {
      await this.#onPath(MAKE_DIRECTORY, mode, 0, path);
    } catch (error) {
      if (!recursive) throw error;
      const above = path.replace(/\/+[^/]*\/*$/, "");
      if (is(error, "ENOENT") && above !== "" && above !== path) {
        await this.mkdir(above, mode, true);
        await this.mkdir(path, mode, true);
      } else if (!is(error, "EEXIST") || (await this.stat(path, true)).kind !== "directory") {
        throw error;
      }
    }
  }

  /** @param {string} path @param {boolean} recursive @param {boolean} force */
  async rm(path, recursive, force) {
    try {
      await this.#onPath(REMOVE, 0, 0, path);
    } catch (error) {
      if (force && is(error, "ENOENT")) return;
      if (!recursive || !is(error, "EISDIR")) throw error;
      for (const { name } of await this.#list(path, O_DIRECTORY | O_NOFOLLOW))
        await this.rm(`${path}/${name}`, true, true);
      await this.#onPath(REMOVE, 1, 0, path);
    }
  }

  /** @param {string} from @param {string} to */
  rename(from, to) {
    return this.#onPaths(RENAME, from, to);
  }

  /** @param {string} target @param {string} path */
  symlink(target, path) {
    return this.#onPaths(MAKE_LINK, target, path);
  }

  /** @param {string} path @param {number} mode */
  async chmod(path, mode) {
    await this.#onPath(CHANGE_MODE, mode, 0, path);
  }

  /** Begins to watch; the number is for {@link events} and {@link unwatch}. @param {string} path */
  async watch(path) {
    const fd = toNumber(await this.#onPath(WATCH, ASKED, 0, path));
    this.#lastWatch += 1;
    this.#watches.set(this.#lastWatch, { fd, isRead: false });
    return this.#lastWatch;
  }

  /**
   * What happened since, once something did, and whether that is all there will be.
   * @param {number} number
   * @returns {Promise<{ events: WatchEvent[], ended: boolean }>}
   */
  async events(number) {
    const watch = this.#watches.get(number);
    if (!watch) return { events: [], ended: true };
    watch.isRead = true;
    const all = watchEvents(await this.#link.request(READ, watch.fd, MAX_TRANSFER, NOTHING));
    watch.isRead = false;
    const ended = all.at(-1)?.kind === "end";
    if (ended) await this.#forget(number, watch.fd);
    return { events: /** @type {WatchEvent[]} */ (ended ? all.slice(0, -1) : all), ended };
  }

  /** What waits for events hears that it is the end. @param {number} number */
  async unwatch(number) {
    const watch = this.#watches.get(number);
    if (!watch) return;
    if (!watch.isRead) return this.#forget(number, watch.fd);
    await this.#link.request(UNWATCH, watch.fd, 0, NOTHING).catch((error) => {
      // It ended by itself just now.
      if (!is(error, "EINVAL")) throw error;
    });
  }

  /** @param {number} number @param {number} fd */
  async #forget(number, fd) {
    this.#watches.delete(number);
    await this.#link.request(CLOSE, fd, 0, NOTHING);
  }

  /** @param {string} path @param {boolean} follow @returns {Promise<Stats>} */
  async stat(path, follow) {
    return stats(await this.#onPath(STAT, follow ? 1 : 0, 0, path));
  }
}

/** @param {Uint8Array} bytes */
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** @param {Uint8Array} bytes */
const toNumber = (bytes) => view(bytes).getUint32(0, true);

/** @param {Uint8Array[]} parts */
function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * `struct linux_dirent64`, getdents64(2): inode, offset, length, type, name and NUL.
 * @param {Uint8Array} bytes
 */
function entries(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length; at += view(bytes).getUint16(at + 16, true)) {
    const kind = KINDS[bytes[at + 18]];
    const name = new TextDecoder().decode(bytes.subarray(at + 19, bytes.indexOf(0, at + 19)));
    if (name !== "." && name !== "..") found.push({ name, kind });
  }
  return found;
}

/**
 * `struct inotify_event`, inotify(7): watch, what happened, cookie, length, name and NULs.
 * @param {Uint8Array} bytes
 */
function watchEvents(bytes) {
  const found = [];
  for (let at = 0; at < bytes.length; at += 16 + view(bytes).getUint32(at + 12, true)) {
    const mask = view(bytes).getUint32(at + 4, true);
    const padded = bytes.subarray(at + 16, at + 16 + view(bytes).getUint32(at + 12, true));
    const end = padded.indexOf(0);
    const name = new TextDecoder().decode(end < 0 ? padded : padded.subarray(0, end));
    const kind = WATCHED.find(([events]) => (mask & events) !== 0)?.[1];
    if (kind) found.push({ kind, name });
  }
  return found;
}

/**
 * `struct stat`, stat(2).
 * @param {Uint8Array} bytes
 * @returns {Stats}
 */
function stats(bytes) {
  const at = view(bytes);
  const mode = at.getUint32(24, true);
  const time = (/** @type {number} */ offset) =>
    new Date(Number(at.getBigInt64(offset, true)) * 1000 + Number(at.getBigInt64(offset + 8, true)) / 1e6);
  return {
    kind: KINDS[(mode & S_IFMT) >> 12],
    mode: mode & ~S_IFMT,
    inode: Number(at.getBigUint64(8, true)),
    links: Number(at.getBigUint64(16, true)),
    uid: at.getUint32(28, true),
    gid: at.getUint32(32, true),
    size: Number(at.getBigInt64(48, true)),
    accessed: time(72),
    modified: time(88),
    changed: time(104),
  };
}
