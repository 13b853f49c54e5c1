// The loader: one machine in one WebAssembly instance, and its turns. The same in a browser's worker and in Node.
//
// All state of the machine but its translated code is in the instance's memory, so `snapshot` is a copy and `restore`
// writes it into a new one.

/** The machine's byte streams. */
export const CONSOLE = 0;
export const LINK = 1;

/** What `run` returns instead of a pause. */
export const OFF = -1;
export const RESTART = -2;

const WASM_PAGE = 65536;

export class Machine {
  #exports;
  #memory;
  #table;

  /** `print` gets a line when the machine cannot start, or when its kernel panics. */
  static async load(module, print) {
    const machine = new Machine();
    const bytes = (at, length) => new Uint8Array(machine.#memory.buffer, at, length);
    const host = {
      clock: () => performance.now(),
      realtime: () => Date.now(),
      entropy(at, length) {
        // At most this much at a time is what the engine gives.
        for (let done = 0; done < length; done += 65536) {
          crypto.getRandomValues(bytes(at + done, Math.min(65536, length - done)));
        }
      },
      print_line: (at, length) => print(new TextDecoder().decode(bytes(at, length))),
      // Translated code: modules that share the machine's memory and function table.
      grow_table(count) {
        try {
          return machine.#table.grow(count);
        } catch {
          return -1;
        }
      },
      install(at, length) {
        try {
          const shared = { m: machine.#memory, t: machine.#table };
          new WebAssembly.Instance(new WebAssembly.Module(bytes(at, length)), { m: shared });
          return 1;
        } catch (error) {
          print(String(error));
          return 0;
        }
      },
      clear_slot: (slot) => machine.#table.set(slot, null),
    };
    const { exports } = await WebAssembly.instantiate(module, { host });
    machine.#exports = exports;
    machine.#memory = exports.memory;
    machine.#table = exports.__indirect_function_table;
    return machine;
  }

  /** Turns it on. `archive` is the initial archive's bytes. */
  boot({ megabytes, commandLine, archive }) {
    const line = new TextEncoder().encode(commandLine);
    const at = this.#exports.aurora_exchange(line.length + archive.byteLength);
    const exchange = new Uint8Array(this.#memory.buffer, at, line.length + archive.byteLength);
    exchange.set(line);
    exchange.set(new Uint8Array(archive), line.length);
    return this.#exports.aurora_boot(megabytes, line.length, archive.byteLength) === 0;
  }

  /** Runs for about `budget` ms. Returns in how many ms it wants its next turn, or `OFF` or `RESTART`. */
  run(budget) {
    return this.#exports.aurora_run(budget);
  }

  /** Gives bytes to a port; returns how many it took. */
  push(port, bytes) {
    const part = bytes.subarray(0, 65536);
    const at = this.#exports.aurora_exchange(part.length);
    new Uint8Array(this.#memory.buffer, at, part.length).set(part);
    return this.#exports.aurora_push(port, part.length);
  }

  /** Takes at most `max` bytes a port sent. */
  pull(port, max) {
    const length = this.#exports.aurora_pull(port, max);
    const at = this.#exports.aurora_exchange(length);
    return new Uint8Array(this.#memory.buffer, at, length).slice();
  }

  /** Instructions its programs have retired. */
  get retired() {
    return this.#exports.aurora_retired();
  }

  /** Bytes of memory it takes of its host. */
  get bytes() {
    return this.#memory.buffer.byteLength;
  }

  /** Everything there is of it. */
  snapshot() {
    return this.#memory.buffer.slice(0);
  }

  /** Becomes the machine the snapshot was made of; for a machine that was loaded and not booted. */
  restore(snapshot) {
    const missing = snapshot.byteLength - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(missing / WASM_PAGE);
    new Uint8Array(this.#memory.buffer).set(new Uint8Array(snapshot));
    this.#exports.aurora_restored();
  }
}

/** The longest turn: the event loop must not be kept waiting. */
const TURN_MS = 6;
/** Input that waits outside for a machine that takes none; more is refused. */
const MAX_WAITING = 1 << 20;

/**
 * Gives a machine its turns. Nothing is queued without bound: what the machine sends to a port is taken only within
 * `window` bytes that `acknowledge` has not yet answered, and the machine itself waits when its ports are full.
 */
export class Runner {
  #machine;
  #soon;
  #output;
  #ended;
  #window;
  #unacknowledged = [0, 0];
  #waiting = [[], []];
  #waitingBytes = [0, 0];
  #timer;
  #due = false;
  #stopped = false;
  /** How the machine ended, while its last output is on its way. */
  #end;

  /**
   * `soon(callback)` runs it after pending events; `output(port, bytes)` takes bytes and answers with `acknowledge`;
   * `ended(code)` hears that the machine is off.
   */
  constructor(machine, { soon, output, ended, window = 32768 }) {
    this.#machine = machine;
    this.#soon = soon;
    this.#output = output;
    this.#ended = ended;
    this.#window = window;
    this.wake();
  }

  /** Bytes for a port. Returns whether there was room to keep them. */
  input(port, bytes) {
    if (this.#waitingBytes[port] + bytes.length > MAX_WAITING) return false;
    this.#waiting[port].push(bytes);
    this.#waitingBytes[port] += bytes.length;
    this.wake();
    return true;
  }

  /** Bytes waiting for a port to take them. */
  waiting(port) {
    return this.#waitingBytes[port];
  }

  /** `count` bytes of a port's output have gone where they were to go. */
  acknowledge(port, count) {
    this.#unacknowledged[port] -= count;
    this.wake();
  }

  /** Bytes of a port's output that nobody has answered for. */
  unacknowledged(port) {
    return this.#unacknowledged[port];
  }

  /** There is something to do now. */
  wake() {
    if (this.#due || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#due = true;
    this.#soon(() => this.#turn());
  }

  /** No more turns. */
  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #turn() {
    this.#due = false;
    if (this.#stopped) return;
    if (this.#end === undefined) this.#run();
    for (const port of [CONSOLE, LINK]) this.#take(port);
    if (this.#end !== undefined && this.#unacknowledged.every((count) => count === 0)) {
      this.stop();
      this.#ended(this.#end);
    }
  }

  #run() {
    for (const port of [CONSOLE, LINK]) this.#give(port);
    const next = this.#machine.run(TURN_MS);
    if (next < 0) this.#end = next;
    else if (next < 1) this.wake();
    else if (next < Infinity) this.#timer = setTimeout(() => this.wake(), Math.min(next, 0x7fffffff));
  }

  #give(port) {
    const queue = this.#waiting[port];
    while (queue.length > 0) {
      const taken = this.#machine.push(port, queue[0]);
      this.#waitingBytes[port] -= taken;
      if (taken < queue[0].length) {
        queue[0] = queue[0].subarray(taken);
        return;
      }
      queue.shift();
    }
  }

  #take(port) {
    const room = this.#window - this.#unacknowledged[port];
    if (room <= 0) return;
    const bytes = this.#machine.pull(port, room);
    if (bytes.length === 0) return;
    this.#unacknowledged[port] += bytes.length;
    this.#output(port, bytes);
  }
}
