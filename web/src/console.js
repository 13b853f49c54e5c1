// The console: a terminal's keys to the machine, the machine's bytes to the terminal, and lines to whoever reads the
// log.

/** @import { Disposable, Size, Surroundings } from "./types.js" */

/** Input that waits for a machine that takes none; more is refused. */
const MAX_WAITING = 1 << 20;
/** The longest line that is kept together for the log. */
const MAX_LINE = 4096;

export class Console {
  #post;
  #terminal;
  #onLog;
  #encoder = new TextEncoder();
  #decoder = new TextDecoder();
  #line = "";
  #waiting = 0;
  /** @type {Disposable[]} */
  #listeners = [];

  /**
   * @param {Surroundings} surroundings
   * @param {(type: string, more?: object) => void} post
   */
  constructor({ terminal, onLog }, post) {
    this.#post = post;
    this.#terminal = terminal;
    this.#onLog = onLog;
  }

  /** The machine listens. */
  started() {
    const terminal = this.#terminal;
    if (!terminal) return;
    const resize = (/** @type {Size} */ { rows, cols }) => this.#post("console size", { rows, cols });
    this.#listeners.push(terminal.onData((text) => this.type(text)));
    const binary = terminal.onBinary?.((text) => this.#send(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    const resized = terminal.onResize?.(resize);
    for (const listener of [binary, resized]) if (listener) this.#listeners.push(listener);
    resize(terminal);
  }

  /** @param {string} text */
  type(text) {
    this.#send(this.#encoder.encode(text));
  }

  /** @param {Uint8Array} bytes */
  #send(bytes) {
    // What a terminal does when a machine does not listen.
    if (this.#waiting + bytes.length > MAX_WAITING) return this.#terminal?.write(new Uint8Array([7]), () => {});
    this.#waiting += bytes.length;
    this.#post("console", { bytes });
  }

  /** @param {number} bytes */
  taken(bytes) {
    this.#waiting -= bytes;
  }

  /** @param {Uint8Array} bytes */
  show(bytes) {
    if (this.#onLog) this.#log(bytes);
    const shown = () => this.#post("console shown", { bytes: bytes.length });
    if (this.#terminal) this.#terminal.write(bytes, shown);
    else shown();
  }

  /** @param {Uint8Array} bytes */
  #log(bytes) {
    const lines = (this.#line + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#line = (lines.pop() ?? "").slice(-MAX_LINE);
    for (const line of lines) this.#onLog?.(line.replace(/\r$/, ""));
  }

  stop() {
    for (const listener of this.#listeners) listener.dispose();
  }
}
