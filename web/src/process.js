// A program in the machine, as its starter sees it.
import { AuroraError } from "./error.js";
import { signalName, signalNumber } from "./signals.js";
import { Inlet, Outlet } from "./streams.js";

/** @import { ExitStatus } from "./types.js" */

/** How a process reaches its machine. @typedef {(type: string, more?: object) => void} Post */

/** A program in the machine. */
export class Process {
  #post;
  #outputs;
  #input;
  /** @type {{ resolve: (status: ExitStatus) => void, reject: (error: AuroraError) => void }} */
  #settle = { resolve() {}, reject() {} };

  /**
   * Its input: bytes, or text that becomes UTF-8. Closing it is the end of input.
   * @type {WritableStream<Uint8Array | string>}
   */
  stdin;
  /** Its output, and all of its terminal's. Cancelling it breaks the pipe. @type {ReadableStream<Uint8Array>} */
  stdout;
  /** Its errors. @type {ReadableStream<Uint8Array>} */
  stderr;
  /** How it ended; rejected if it could not be started. @type {Promise<ExitStatus>} */
  exit;

  /** @param {Post} post */
  constructor(post) {
    this.#post = post;
    this.#outputs = [0, 1].map(
      (stream) =>
        new Inlet(
          (bytes) => post("taken", { stream, bytes }),
          () => post("close output", { stream }),
        ),
    );
    this.#input = new Outlet((bytes) => post("stdin", { bytes }));
    this.stdin = this.#input.stream;
    [this.stdout, this.stderr] = this.#outputs.map((inlet) => inlet.stream);
    this.exit = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Whoever asks hears it; nobody has to ask.
    this.exit.catch(() => {});
  }

  /**
   * Sends a signal.
   * @param {string | number} [signal]
   */
  kill(signal = "SIGTERM") {
    this.#post("signal", { number: signalNumber(signal) });
  }

  /**
   * Tells the size of its terminal.
   * @param {number} rows
   * @param {number} cols
   */
  resize(rows, cols) {
    this.#post("resize", { rows, cols });
  }

  /**
   * What the worker says of it.
   * @internal
   * @param {{ event: string, bytes: Uint8Array, number: number, error: AuroraError }} news
   */
  receive({ event, bytes, number, error }) {
    if (event === "stdout") this.#outputs[0].receive(bytes);
    else if (event === "stderr") this.#outputs[1].receive(bytes);
    else if (event === "input taken") this.#input.taken(number);
    else if (event === "failed") this.fail(error);
    else if (event === "exit") this.#ended(number);
  }

  /** @param {number} status as wait4(2) gives it */
  #ended(status) {
    const signal = status & 0x7f;
    for (const inlet of this.#outputs) inlet.end();
    this.#input.fail(new AuroraError("the program has ended", { name: "EPIPE", number: 32 }));
    this.#settle.resolve(
      signal === 0 ? { code: (status >> 8) & 0xff, signal: null } : { code: null, signal: signalName(signal) },
    );
  }

  /**
   * It could not be started, or its machine is gone.
   * @internal
   * @param {AuroraError} error
   */
  fail(error) {
    for (const inlet of this.#outputs) inlet.end(error);
    this.#input.fail(error);
    this.#settle.reject(error);
  }
}
