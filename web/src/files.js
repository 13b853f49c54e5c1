// The machine's files. Each call is done by the kernel as if a program had asked; the worker speaks with it
// (requests.js).

/** @import { DirectoryEntry, Stats } from "./types.js" */

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
}
