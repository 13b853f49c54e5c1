// The loader: one machine in one WebAssembly instance, and its turns. The same in a browser's worker and in Node.
//
// All state of the machine but its translated code is in the instance's memory, so `snapshot` is a copy and `restore`
// writes it into a new one.
import { DiskQueue } from "./disk-queue.js";
import { pack, unpack } from "./snapshot.js";

/** @import { Disk } from "./types.js" */

/** The machine's byte streams. */
export const CONSOLE = 0;
export const LINK = 1;

/** What `run` returns instead of a pause. */
export const OFF = -1;
export const RESTART = -2;

export class Machine {
  /** The module's functions. @type {any} */
  exports;
  /** @type {WebAssembly.Memory} */
  #memory;
  /** Which build of the kernel it is. @type {Uint8Array} */
  #build;
  /** @type {WebAssembly.Table} */
  #table;
  /** @type {DiskQueue} */
  #disks;
  /** What the first translated module exports. @type {WebAssembly.Exports} */
  #entrance = {};

  /**
   * `print` gets a line when the machine cannot start, `panicked` what a kernel that panics says, and where, and `wake`
   * hears that a disk has done what the machine waits for.
   * @param {WebAssembly.Module} module
   * @param {{ print: (line: string) => void, panicked: (message: string, place: string) => void, wake: () => void }} on
   * @param {Disk[]} [disks]
   */
  static async load(module, { print, panicked, wake }, disks = []) {
    const machine = new Machine();
    machine.#disks = new DiskQueue(disks, {
      bytes: (at, length) => bytes(at, length),
      done(disk, tag, answer) {
        machine.exports.aurora_disk_done(disk, tag, answer);
        wake();
      },
    });
    const bytes = (/** @type {number} */ at, /** @type {number} */ length) => machine.#bytes(at, length);
    const text = (/** @type {number} */ at, /** @type {number} */ length) =>
      new TextDecoder().decode(bytes(at, length));
    /** @type {WebAssembly.ModuleImports} */
    const slots = new Proxy({}, { get: (_, slot) => machine.#table.get(Number(slot)) });
    const host = {
      clock: () => performance.now(),
      realtime: () => Date.now(),
      entropy(/** @type {number} */ at, /** @type {number} */ length) {
        // At most this much at a time is what the engine gives.
        for (let done = 0; done < length; done += 65536) {
          crypto.getRandomValues(bytes(at + done, Math.min(65536, length - done)));
        }
      },
      print_line: (/** @type {number} */ at, /** @type {number} */ length) => print(text(at, length)),
      panicked: (/** @type {[number, number, number, number]} */ ...[message, length, place, placeLength]) =>
        panicked(text(message, length), text(place, placeLength)),
      // Translated code: modules that share the machine's memory and function table.
      grow_table(/** @type {number} */ count) {
        try {
          return machine.#table.grow(count);
        } catch {
          return -1;
        }
      },
      install(/** @type {number} */ at, /** @type {number} */ length) {
        try {
          const shared = { m: machine.#memory, t: machine.#table };
          const module = new WebAssembly.Module(bytes(at, length));
          const { exports } = new WebAssembly.Instance(module, { m: shared, e: machine.#entrance, s: slots });
          for (const [name, value] of Object.entries(exports)) {
            // What has a number belongs in that slot; what has a name is for the modules after this one.
            if (/^\d+$/.test(name)) machine.#table.set(Number(name), /** @type {Function} */ (value));
            else machine.#entrance = exports;
          }
          return 1;
        } catch (error) {
          print(String(error));
          return 0;
        }
      },
      validate: (/** @type {number} */ at, /** @type {number} */ length) =>
        Number(WebAssembly.validate(bytes(at, length))),
      clear_slot: (/** @type {number} */ slot) => machine.#table.set(slot, null),
      ...machine.#disks.imports,
    };
    const { exports } = await WebAssembly.instantiate(module, { host });
    machine.exports = exports;
    machine.#memory = /** @type {WebAssembly.Memory} */ (exports.memory);
    machine.#table = /** @type {WebAssembly.Table} */ (exports.__indirect_function_table);
    machine.#build = new Uint8Array(WebAssembly.Module.customSections(module, "build_id")[0] ?? []);
    return machine;
  }

  /**
   * Turns it on. `archive` is the initial archive's bytes.
   * @param {{ megabytes: number, commandLine: string, archive: Uint8Array }} what
   */
  boot({ megabytes, commandLine, archive }) {
    const line = new TextEncoder().encode(commandLine);
    this.exchange(line, archive);
    return this.exports.aurora_boot(megabytes, line.length, archive.length) === 0;
  }

  /**
   * Runs for about `budget` ms. Returns in how many ms it wants its next turn, or `OFF` or `RESTART`.
   * @param {number} budget
   * @returns {number}
   */
  run(budget) {
    return this.exports.aurora_run(budget);
  }

  /**
   * Puts bytes where the machine finds them; returns how many there are.
   * @param {Uint8Array[]} parts
   */
  exchange(...parts) {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    let at = this.exports.aurora_exchange(length);
    for (const part of parts) {
      this.#bytes(at, part.length).set(part);
      at += part.length;
    }
    return length;
  }

  /**
   * A copy of the first bytes of what the machine put there.
   * @param {number} length
   */
  exchanged(length) {
    return this.#bytes(this.exports.aurora_exchange(length), length).slice();
  }

  /**
   * The machine's bytes there. An address comes as a signed number: from 2 GiB on it is below zero.
   * @param {number} at
   * @param {number} length
   */
  #bytes(at, length) {
    return new Uint8Array(this.#memory.buffer, at >>> 0, length);
  }

  /**
   * Gives bytes to a port; returns how many it took.
   * @param {number} port
   * @param {Uint8Array} bytes
   * @returns {number}
   */
  push(port, bytes) {
    return this.exports.aurora_push(port, this.exchange(bytes.subarray(0, 65536)));
  }

  /**
   * Takes at most `max` bytes a port sent.
   * @param {number} port
   * @param {number} max
   */
  pull(port, max) {
    return this.exchanged(this.exports.aurora_pull(port, max));
  }

  /** Instructions its programs have retired. @returns {number} */
  get retired() {
    return this.exports.aurora_retired();
  }

  /** Bytes of memory it takes of its host. */
  get bytes() {
    return this.#memory.buffer.byteLength;
  }

  /** Whether its disks answer at once. */
  get disksAnswer() {
    return this.#disks.answer;
  }

  /** Asks the kernel to put everything on the disks; `isSynced` tells of the number it gives. @returns {number} */
  sync() {
    return this.exports.aurora_sync();
  }

  /** @param {number} number */
  isSynced(number) {
    return this.exports.aurora_synced() >= number;
  }

  /** Everything there is of it but its disks. */
  snapshot() {
    return pack(this.#memory.buffer, this.#build);
  }

  /**
   * Becomes the machine the snapshot was made of; for a machine that was loaded and not booted.
   * @param {Uint8Array} snapshot
   */
  restore(snapshot) {
    unpack(snapshot, this.#memory, this.#build);
    this.exports.aurora_restored();
  }
}

/** The longest turn: the event loop must not be kept waiting. */
export const TURN_MS = 6;
/** Bytes of a port's output that may be under way. */
const WINDOW = 32768;

/**
 * What a runner's machine speaks with.
 *
 * @typedef {object} RunnerOptions
 * @property {number[]} ports those whose bytes are carried as they are
 * @property {(callback: () => void) => void} soon runs it after pending events
 * @property {() => boolean} [exchange] carries what goes another way, before and after each turn; returns whether there
 *   was something: then the machine may go on
 * @property {(port: number, bytes: Uint8Array<ArrayBuffer>) => void} output takes bytes and answers with `acknowledge`
 * @property {(port: number, bytes: number) => void} taken hears how much input a port took
 * @property {() => void} [turned] hears that the machine had a turn
 * @property {() => void} [rests] hears that it has nothing to do after it
 * @property {(code: number) => void} ended hears that the machine is off
 */

/**
 * Gives a machine its turns. Nothing is queued without bound: what the machine sends to a port is taken only within a
 * window of bytes that `acknowledge` has not yet answered, and the machine itself waits when its ports are full.
 */
export class Runner {
  #machine;
  #on;
  #unacknowledged = [0, 0];
  /** @type {Uint8Array[][]} */
  #waiting = [[], []];
  #waitingBytes = [0, 0];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #due = false;
  #stopped = false;
  /** How the machine ended, while its last output is on its way. @type {number | undefined} */
  #end;

  /**
   * @param {Machine} machine
   * @param {RunnerOptions} on
   */
  constructor(machine, on) {
    this.#machine = machine;
    this.#on = on;
    this.wake();
  }

  /**
   * Bytes for a port. Who sends them waits for `taken` before there are too many.
   * @param {number} port
   * @param {Uint8Array} bytes
   */
  input(port, bytes) {
    this.#waiting[port].push(bytes);
    this.#waitingBytes[port] += bytes.length;
    this.wake();
  }

  /** Bytes waiting for a port to take them. @param {number} port */
  waiting(port) {
    return this.#waitingBytes[port];
  }

  /**
   * `count` bytes of a port's output have gone where they were to go.
   * @param {number} port
   * @param {number} count
   */
  acknowledge(port, count) {
    this.#unacknowledged[port] -= count;
    this.wake();
  }

  /** Bytes of a port's output that nobody has answered for. @param {number} port */
  unacknowledged(port) {
    return this.#unacknowledged[port];
  }

  /** Whether the machine has nothing to do. */
  get rests() {
    return !this.#due && !this.#stopped;
  }

  /** There is something to do now. */
  wake() {
    if (this.#due || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#due = true;
    this.#on.soon(() => this.#turn());
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
    for (const port of this.#on.ports) this.#take(port);
    if (this.#end !== undefined && this.#unacknowledged.every((count) => count === 0)) {
      this.stop();
      this.#on.ended(this.#end);
    }
  }

  #run() {
    for (const port of this.#on.ports) this.#give(port);
    this.#on.exchange?.();
    const next = this.#machine.run(TURN_MS);
    this.#on.turned?.();
    const carried = this.#on.exchange?.() ?? false;
    if (next < 0) this.#end = next;
    else if (next < 1 || carried) this.wake();
    else if (next < Infinity) this.#timer = setTimeout(() => this.wake(), Math.min(next, 0x7fffffff));
    if (this.rests) this.#on.rests?.();
  }

  /** @param {number} port */
  #give(port) {
    const queue = this.#waiting[port];
    while (queue.length > 0) {
      const taken = this.#machine.push(port, queue[0]);
      this.#waitingBytes[port] -= taken;
      if (taken > 0) this.#on.taken(port, taken);
      if (taken < queue[0].length) {
        queue[0] = queue[0].subarray(taken);
        return;
      }
      queue.shift();
    }
  }

  /** @param {number} port */
  #take(port) {
    const room = WINDOW - this.#unacknowledged[port];
    if (room <= 0) return;
    const bytes = this.#machine.pull(port, room);
    if (bytes.length === 0) return;
    this.#unacknowledged[port] += bytes.length;
    this.#on.output(port, bytes);
  }
}
