// The page's side of the worker: a running system with two byte streams.

export class System {
  #worker;
  #handlers;
  #answers = new Map();

  /** `on`: `output(port, bytes)`, `started()`, `ended(code)`, `failed(message)`, `refused(port)`, each optional. */
  constructor(options, on) {
    this.#handlers = on;
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => on.failed?.(event.message ?? "the worker did not load");
    this.#worker.postMessage({ type: "start", wasm: new URL("./aurora.wasm", import.meta.url).href, ...options });
  }

  #receive(data) {
    if (data.type === "output") return this.#handlers.output?.(data.port, data.bytes);
    if (data.type === "ended") return this.#handlers.ended?.(data.code);
    if (data.type === "failed") return this.#handlers.failed?.(data.message);
    if (data.type === "refused") return this.#handlers.refused?.(data.port);
    if (data.type === "started") return this.#handlers.started?.();
    const waiting = this.#answers.get(data.type);
    this.#answers.delete(data.type);
    waiting?.(data);
  }

  #ask(type) {
    return new Promise((resolve) => {
      this.#answers.set(type, resolve);
      this.#worker.postMessage({ type });
    });
  }

  input(port, bytes) {
    this.#worker.postMessage({ type: "input", port, bytes });
  }

  /** `count` bytes of output went where they were to go: only then comes more. */
  acknowledge(port, count) {
    this.#worker.postMessage({ type: "acknowledge", port, count });
  }

  /** The system's whole memory, as an `ArrayBuffer`. */
  async snapshot() {
    return (await this.#ask("snapshot")).memory;
  }

  async statistics() {
    return (await this.#ask("statistics")).values;
  }

  /** Pulls the plug. */
  stop() {
    this.#worker.terminate();
  }
}
