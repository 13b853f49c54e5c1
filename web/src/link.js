// The worker's end of the host link: programs and file requests in the machine. The protocol itself is in the kernel's
// module (machines/wasm/src/link.rs); here are the calls.
import { AuroraError } from "./error.js";

/** @import { Machine } from "./machine.js" */
/** @import { Size } from "./types.js" */

/** What `aurora_link_next` returns. */
const NEWS = ["", "ready", "room", "failed", "stdout", "stderr", "exit", "reply", "broken"];
/** Bytes of news before its payload: id, number, length. */
const HEAD = 12;

/**
 * What the machine said of a program.
 * @typedef {{ event: string, id: number, number: number, bytes: Uint8Array }} News
 */

export class Link {
  #machine;
  #exports;
  #hear;
  #changed;
  /** @type {Map<number, { resolve: (answer: Uint8Array) => void, reject: (error: AuroraError) => void }>} */
  #requests = new Map();
  /**
   * Input of programs that is under way, by id: pieces, and `null` for the end.
   * @type {Map<number, (Uint8Array | null)[]>}
   */
  #input = new Map();

  /**
   * `hear` takes news of programs; `changed` hears that the machine has something to do.
   * @param {Machine} machine
   * @param {(news: News) => void} hear
   * @param {() => void} changed
   */
  constructor(machine, hear, changed) {
    this.#machine = machine;
    this.#exports = machine.exports;
    this.#hear = hear;
    this.#changed = changed;
  }

  /** Carries what waits in either direction. Returns whether there was something: then the machine may go on. */
  exchange() {
    for (;;) {
      const event = NEWS[this.#exports.aurora_link_next()];
      if (!event) break;
      if (event === "broken") throw new AuroraError("what the machine sent is not the link's protocol");
      const [id, number, length] = new Uint32Array(this.#machine.exchanged(HEAD).buffer);
      this.#receive({ event, id, number, bytes: this.#machine.exchanged(HEAD + length).subarray(HEAD) });
    }
    return this.#exports.aurora_link_carried() !== 0;
  }

  /** @param {News} news */
  #receive(news) {
    const { event, id, number, bytes } = news;
    if (event === "reply") {
      const request = this.#requests.get(id);
      this.#requests.delete(id);
      if (number === 0) request?.resolve(bytes);
      else request?.reject(this.error(number));
    } else if (event === "room") {
      if (!this.#input.has(id)) this.#input.set(id, []);
      this.#feed(id);
    } else {
      if (event === "exit" || event === "failed") this.#input.delete(id);
      this.#hear(news);
    }
  }

  /**
   * Starts a program; returns its id, or 0 if its strings are too long.
   * @param {{ tty: Size | null, argc: number, envc: number, strings: string[] }} program
   * @returns {number}
   */
  spawn({ tty, argc, envc, strings }) {
    const length = this.#machine.exchange(new TextEncoder().encode(strings.map((string) => `${string}\0`).join("")));
    const id = this.#exports.aurora_link_spawn(tty?.rows ?? 0, tty?.cols ?? 0, argc, envc, length);
    this.#changed();
    return id;
  }

  /**
   * Gives a program input, as it takes it; `null` is the end. "input taken" is heard once it took a piece.
   * @param {number} id
   * @param {Uint8Array | null} bytes
   */
  input(id, bytes) {
    const queue = this.#input.get(id) ?? [];
    this.#input.set(id, [...queue, bytes]);
    this.#feed(id);
  }

  /** @param {number} id */
  #feed(id) {
    const queue = this.#input.get(id) ?? [];
    while (queue.length > 0) {
      const piece = queue[0];
      if (piece === null) {
        // A program that has not started yet takes the end of its input with the first room.
        if (!this.#exports.aurora_link_is_started(id)) return;
        this.#exports.aurora_link_end_input(id);
      } else {
        const taken = this.#exports.aurora_link_input(id, this.#machine.exchange(piece));
        this.#changed();
        if (taken > 0) this.#hear({ event: "input taken", id, number: taken, bytes: NOTHING });
        if (taken < piece.length) {
          queue[0] = piece.subarray(taken);
          return;
        }
      }
      this.#changed();
      queue.shift();
    }
  }

  /** @param {number} id @param {number} signal */
  signal(id, signal) {
    this.#exports.aurora_link_signal(id, signal);
    this.#changed();
  }

  /**
   * The size of a program's terminal; of the console if `id` is 0.
   * @param {number} id
   * @param {number} rows
   * @param {number} cols
   */
  resize(id, rows, cols) {
    this.#exports.aurora_link_resize(id, rows, cols);
    this.#changed();
  }

  /** @param {number} id @param {number} stream @param {number} bytes */
  taken(id, stream, bytes) {
    this.#exports.aurora_link_taken(id, stream, bytes);
    this.#changed();
  }

  /** @param {number} id @param {number} stream */
  closeOutput(id, stream) {
    this.#exports.aurora_link_close_output(id, stream);
    this.#changed();
  }

  /** Turns the machine off. */
  shutdown() {
    this.#exports.aurora_link_shutdown();
    this.#changed();
  }

  /**
   * Asks for a file operation (abi/src/link/request.rs): operation, two numbers, a path or data.
   * @param {number} operation
   * @param {number} a
   * @param {number} b
   * @param {Uint8Array} rest
   * @returns {Promise<Uint8Array>}
   */
  request(operation, a, b, rest) {
    const payload = new Uint8Array(HEAD + rest.length);
    new Uint32Array(payload.buffer, 0, 3).set([operation, a, b]);
    payload.set(rest, HEAD);
    const id = this.#exports.aurora_link_request(this.#machine.exchange(payload));
    this.#changed();
    if (id === 0) return Promise.reject(this.error(ENAMETOOLONG));
    return new Promise((resolve, reject) => this.#requests.set(id, { resolve, reject }));
  }

  /**
   * Goes on with a restored machine. Returns the programs that run in it.
   * @returns {number[]}
   */
  adopt() {
    const count = this.#exports.aurora_link_adopt();
    const pairs = new Uint32Array(this.#machine.exchanged(8 * count).buffer);
    return Array.from({ length: count }, (_, i) => pairs[2 * i]);
  }

  /**
   * The error of a number.
   * @param {number} number
   */
  error(number) {
    const text = new TextDecoder().decode(this.#machine.exchanged(this.#exports.aurora_errno(number)));
    const [name, meaning] = text.split("\0");
    return new AuroraError(`${name}: ${meaning.replace(/\.$/, "").toLowerCase()}`, { name, number });
  }
}

const NOTHING = new Uint8Array();
const ENAMETOOLONG = 36;
