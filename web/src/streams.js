// Bytes between the page and its worker, as web streams with back-pressure: what comes in is acknowledged when it was
// read, what goes out is done when the machine took it. Nothing queues beyond the window either side has granted.

/** Bytes that come from the worker. */
export class Inlet {
  /** @type {Uint8Array[]} */
  #queue = [];
  /** @type {ReadableStreamDefaultController<Uint8Array> | undefined} */
  #wanting;
  /** @type {{ error?: unknown } | undefined} */
  #end;
  #acknowledge;
  /** @type {ReadableStream<Uint8Array>} */
  stream;

  /**
   * `acknowledge` hears how many bytes were read, `cancel` that nobody will read any more.
   * @param {(bytes: number) => void} acknowledge
   * @param {() => void} cancel
   */
  constructor(acknowledge, cancel) {
    this.#acknowledge = acknowledge;
    this.stream = new ReadableStream(
      {
        pull: (controller) => {
          this.#wanting = controller;
          this.#serve();
        },
        cancel: () => {
          this.#end ??= {};
          this.#queue = [];
          cancel();
        },
      },
      // A chunk leaves the queue, and is acknowledged, only when somebody asks for it.
      { highWaterMark: 0 },
    );
  }

  /** @param {Uint8Array} bytes */
  receive(bytes) {
    if (this.#end) return;
    this.#queue.push(bytes);
    this.#serve();
  }

  /**
   * No more comes; with an error, because it failed.
   * @param {unknown} [error]
   */
  end(error) {
    this.#end ??= { error };
    this.#serve();
  }

  #serve() {
    const controller = this.#wanting;
    if (!controller) return;
    const bytes = this.#queue.shift();
    if (bytes) {
      this.#wanting = undefined;
      controller.enqueue(bytes);
      this.#acknowledge(bytes.length);
    } else if (this.#end) {
      this.#wanting = undefined;
      if (this.#end.error === undefined) controller.close();
      else controller.error(this.#end.error);
    }
  }
}

/** Bytes for the worker. A write is done once the machine took them. */
export class Outlet {
  /** @type {(() => void) | undefined} */
  #done;
  /** Bytes of the last write the machine has not taken. */
  #waiting = 0;
  /** @type {WritableStreamDefaultController | undefined} */
  #controller;
  /** @type {WritableStream<Uint8Array | string>} */
  stream;

  /**
   * `send` takes bytes, or `null` at the end.
   * @param {(bytes: Uint8Array | null) => void} send
   */
  constructor(send) {
    const encoder = new TextEncoder();
    this.stream = new WritableStream({
      start: (controller) => {
        this.#controller = controller;
      },
      write: (chunk) => {
        // A copy: the writer may use its array again at once.
        const bytes = typeof chunk === "string" ? encoder.encode(chunk) : chunk.slice();
        if (bytes.length === 0) return undefined;
        return new Promise((resolve) => {
          this.#done = () => resolve(undefined);
          this.#waiting = bytes.length;
          send(bytes);
        });
      },
      close: () => send(null),
      abort: () => send(null),
    });
  }

  /** The machine took some of the last write. @param {number} bytes */
  taken(bytes) {
    this.#waiting -= bytes;
    if (this.#waiting > 0) return;
    this.#done?.();
    this.#done = undefined;
  }

  /**
   * Nobody takes anything any more.
   * @param {unknown} error
   */
  fail(error) {
    this.#controller?.error(error);
    this.taken(this.#waiting);
  }
}
