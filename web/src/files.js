// The machine's files. Each call is done by the kernel as if a program had asked; the worker speaks with it
// (requests.js).

/** @import { DirectoryEntry, Stats, WatchEvent } from "./types.js" */

/** How a call reaches the worker. @typedef {(method: string, ...args: any[]) => Promise<any>} Call */

/** The machine's files. Every failure is an `AuroraError` with its errno. */
export class Files {
  #call;

  /** @internal @param {Call} call */
  constructor(call) {
    this.#call = call;
  }

  /**
   * A file's bytes; its text if an encoding is given.
   * @overload
   * @param {string} path
   * @returns {Promise<Uint8Array>}
   */
  /**
   * @overload
   * @param {string} path
   * @param {"utf8"} encoding
   * @returns {Promise<string>}
   */
  /**
   * @param {string} path
   * @param {"utf8"} [encoding]
   * @returns {Promise<Uint8Array | string>}
   */
  async readFile(path, encoding) {
    const bytes = await this.#call("readFile", path);
    return encoding ? new TextDecoder().decode(bytes) : bytes;
  }

  /**
   * Makes a file of these bytes, or of text as UTF-8; with `append` it adds them to what is there.
   * @param {string} path
   * @param {Uint8Array | string} data
   * @param {{ mode?: number, append?: boolean }} [options]
   * @returns {Promise<void>}
   */
  writeFile(path, data, { mode = 0o666, append = false } = {}) {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    return this.#call("writeFile", path, bytes, mode, append);
  }

  /**
   * The names in a directory and what they are, in the order of their names.
   * @param {string} path
   * @returns {Promise<DirectoryEntry[]>}
   */
  readdir(path) {
    return this.#call("readdir", path);
  }

  /**
   * Makes a directory; with `recursive` also those above it, and none if it is there already.
   * @param {string} path
   * @param {{ mode?: number, recursive?: boolean }} [options]
   * @returns {Promise<void>}
   */
  mkdir(path, { mode = 0o777, recursive = false } = {}) {
    return this.#call("mkdir", path, mode, recursive);
  }

  /**
   * Removes a file or a link; with `recursive` a directory and all that is in it. With `force` it need not be there.
   * @param {string} path
   * @param {{ recursive?: boolean, force?: boolean }} [options]
   * @returns {Promise<void>}
   */
  rm(path, { recursive = false, force = false } = {}) {
    return this.#call("rm", path, recursive, force);
  }

  /**
   * Gives a file or a directory another name, in place of what had it.
   * @param {string} from
   * @param {string} to
   * @returns {Promise<void>}
   */
  rename(from, to) {
    return this.#call("rename", from, to);
  }

  /**
   * Makes a symbolic link at `path` that leads to `target`.
   * @param {string} target
   * @param {string} path
   * @returns {Promise<void>}
   */
  symlink(target, path) {
    return this.#call("symlink", target, path);
  }

  /**
   * Sets a file's permission bits.
   * @param {string} path
   * @param {number} mode
   * @returns {Promise<void>}
   */
  chmod(path, mode) {
    return this.#call("chmod", path, mode);
  }

  /**
   * What a file is. With `follow: false`, a link at the end of the path itself.
   * @param {string} path
   * @param {{ follow?: boolean }} [options]
   * @returns {Promise<Stats>}
   */
  stat(path, { follow = true } = {}) {
    return this.#call("stat", path, follow);
  }

  /**
   * Watches a file or a directory, whatever program changes it: from the moment this is done, everything that happens to
   * it and to the names in it is told, in order. Directories below it are not watched.
   * @param {string} path
   * @returns {Promise<Watcher>}
   */
  async watch(path) {
    return new Watcher(this.#call, await this.#call("watch", path));
  }
}

/**
 * What happens to a file or in a directory, to be gone through with `for await`. That ends when the file is gone, when the
 * loop is left, or when it is closed.
 * @implements {AsyncIterable<WatchEvent>}
 */
export class Watcher {
  #call;
  #watch;
  #ended = false;

  /** @internal @param {Call} call @param {number} watch */
  constructor(call, watch) {
    this.#call = call;
    this.#watch = watch;
  }

  /** @returns {AsyncGenerator<WatchEvent, void, void>} */
  async *[Symbol.asyncIterator]() {
    try {
      while (!this.#ended) {
        /** @type {{ events: WatchEvent[], ended: boolean }} */
        const { events, ended } = await this.#call("events", this.#watch);
        this.#ended = ended;
        yield* events;
      }
    } finally {
      await this.close();
    }
  }

  /**
   * Ends it. What happened before is still told to who goes through it.
   * @returns {Promise<void>}
   */
  async close() {
    if (!this.#ended) await this.#call("unwatch", this.#watch);
  }
}
