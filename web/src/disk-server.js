// A disk that a server has: ranges of a file, read with GET and written with PUT; POST makes them last.
//
// `Allow` of a HEAD request tells whether it can be written; 507 is a full disk there (RFC 9110, RFC 4918).
import { AuroraError } from "./error.js";

/** @import { DiskOptions, DiskStore } from "./types.js" */

class ServerDisk {
  takesTime = true;
  store = /** @type {DiskStore} */ ("server");

  /** @param {string} url @param {number} size @param {boolean} readOnly */
  constructor(url, size, readOnly) {
    this.url = url;
    this.size = size;
    this.readOnly = readOnly;
  }

  /** @param {number} offset @param {Uint8Array} bytes */
  async read(offset, bytes) {
    const response = await this.#ask({ headers: { Range: `bytes=${offset}-${offset + bytes.length - 1}` } });
    const came = new Uint8Array(await response.arrayBuffer());
    if (came.length !== bytes.length) throw new AuroraError(`${came.length} of ${bytes.length} bytes came`);
    bytes.set(came);
  }

  /** @param {number} offset @param {Uint8Array<ArrayBuffer>} bytes */
  async write(offset, bytes) {
    const range = `bytes ${offset}-${offset + bytes.length - 1}/*`;
    await this.#ask({ method: "PUT", headers: { "Content-Range": range }, body: bytes });
  }

  async flush() {
    await this.#ask({ method: "POST" });
  }

  close() {}

  /** @param {RequestInit} request */
  async #ask(request) {
    const response = await fetch(this.url, request);
    if (response.ok) return response;
    if (response.status === 507) throw new DOMException("the server's disk is full", "QuotaExceededError");
    throw new AuroraError(`${this.url}: ${response.status} ${response.statusText}`);
  }
}

/** @param {DiskOptions} options */
export async function openServer({ name }) {
  const response = await fetch(name, { method: "HEAD" });
  const size = Number(response.headers.get("content-length"));
  if (!response.ok) throw new AuroraError(`${name}: ${response.status} ${response.statusText}`);
  return new ServerDisk(name, size, !response.headers.get("allow")?.includes("PUT"));
}
