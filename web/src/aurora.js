// A machine, as whoever embeds it sees it. The machine itself is in a worker (worker.js); what is here is the other end
// of its messages.
import { Console } from "./console.js";
import { AuroraError } from "./error.js";
import { Files } from "./files.js";
import { Process } from "./process.js";
import { Inlet, Outlet } from "./streams.js";
import { Watchdog } from "./watchdog.js";

/** @import { BootOptions, DiskOptions, DiskStatus, Disposable, Ending, Platform, RestoreOptions, Source, SpawnOptions, Statistics, Surroundings } from "./types.js" */

/** @type {Platform} */
let platform;

/**
 * Says what the machines run on; each entry of the package does, once.
 * @internal
 * @param {Platform} given
 */
export const install = (given) => (platform = given);

const DEFAULT_MEMORY = 256;
const DEFAULT_SIZE = { rows: 24, cols: 80 };

/**
 * A source as the worker takes it: bytes, or a place it reads.
 * @param {Source | WebAssembly.Module} source
 */
const locate = (source) => (typeof source === "string" || source instanceof URL ? platform.locate(source) : source);

/**
 * What a worker is asked to start. Without an image, the first disk has the root.
 * @param {BootOptions} options
 */
function start({ image, disks = [], memory = DEFAULT_MEMORY }) {
  if (image === undefined && disks.length === 0) throw new TypeError("a machine needs an image or a disk to boot");
  return { image: image === undefined ? undefined : locate(image), disks: locateDisks(disks), memory };
}

/**
 * Disks as the worker opens them.
 * @param {(string | DiskOptions)[]} disks
 */
function locateDisks(disks) {
  if (disks.length > 0) platform.persist?.();
  const each = disks.map((disk) => (typeof disk === "string" ? { name: disk } : disk));
  return each.map(({ name, image, base, ...more }) => ({
    ...more,
    name: platform.locateDisk(name),
    base: base && { ...base, url: platform.locate(base.url) },
    image: image === undefined ? undefined : locate(image),
  }));
}

/** @param {BootOptions} options */
function commandLine({ image, terminal, init = terminal ? "/sbin/init" : false, commandLine = "" }) {
  const words = image === undefined ? ["link", "root=/dev/vda"] : ["link"];
  if (init) words.push(`init=${init}`, "TERM=xterm-256color");
  return [...words, commandLine].join(" ").trim();
}

/** The link of a machine whose programs somebody else starts. @typedef {{ inlet: Inlet, outlet: Outlet }} Pipes */

/**
 * A machine whose host link somebody else speaks, and the link's bytes.
 *
 * @typedef {object} Carried
 * @property {Aurora} os
 * @property {ReadableStream<Uint8Array>} readable
 * @property {WritableStream<Uint8Array | string>} writable
 */

/** A running machine. */
export class Aurora {
  #worker;
  #console;
  #watchdog;
  #ended = false;
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: unknown) => void }>} */
  #calls = new Map();
  #lastCall = 0;
  /** @type {Map<number, Process>} */
  #processes = new Map();
  #lastProcess = 0;
  /** @type {(ending: Ending) => void} */
  #tellEnded = () => {};
  /** @type {Surroundings} */
  #surroundings;
  /** @type {Pipes | undefined} */
  #link;
  #start;
  /** @type {Disposable | undefined} */
  #hidden;

  /** Its disks, in order. @type {DiskStatus[]} */
  disks = [];
  /** Its files. @type {Files} */
  fs;
  /** How it ended. @type {Promise<Ending>} */
  ended;

  /**
   * Starts a machine; done once programs can be started in it.
   * @param {BootOptions} options
   * @returns {Promise<Aurora>}
   */
  static async boot(options) {
    return Aurora.start(options, { ...start(options ?? {}), commandLine: commandLine(options) });
  }

  /**
   * Goes on with a machine from a snapshot. The snapshot stays as it is and can be used again.
   * @param {Uint8Array} snapshot
   * @param {RestoreOptions} [options]
   * @returns {Promise<Aurora>}
   */
  static restore(snapshot, options = {}) {
    return Aurora.start(options, { snapshot, disks: locateDisks(options.disks ?? []) });
  }

  /**
   * A machine whose host link is carried elsewhere as it is: then somebody else starts its programs.
   * @internal
   * @param {BootOptions & { commandLine: string }} options
   * @returns {Promise<Carried>}
   */
  static async carry(options) {
    const { commandLine } = options;
    const os = await Aurora.start(options, { ...start(options), commandLine, carriesLink: true });
    const { inlet, outlet } = /** @type {Pipes} */ (os.#link);
    return { os, readable: inlet.stream, writable: outlet.stream };
  }

  /**
   * Starts a machine and waits until it can be used.
   * @private
   * @param {Surroundings} surroundings
   * @param {object} what
   * @returns {Promise<Aurora>}
   */
  static async start(surroundings, what) {
    /** @type {Aurora | undefined} */
    let os;
    /** @type {Promise<void>} */
    const start = new Promise((resolve, reject) => {
      os = new Aurora(surroundings, what, { resolve, reject });
    });
    await start;
    return /** @type {Aurora} */ (os);
  }

  /**
   * Use `Aurora.boot`.
   * @private
   * @param {Surroundings} surroundings
   * @param {object} what
   * @param {{ resolve: () => void, reject: (error: AuroraError) => void }} start
   */
  constructor(surroundings, what, start) {
    this.#surroundings = surroundings;
    this.#start = start;
    this.ended = new Promise((resolve) => (this.#tellEnded = resolve));
    this.fs = new Files((method, ...args) => this.#call(method, ...args));
    this.#worker = platform.startWorker(
      (message) => this.#receive(message),
      (reason) => this.#end({ kind: "failed", message: reason }),
    );
    this.#console = new Console(surroundings, (type, more) => this.#post(type, more));
    const { onHang } = surroundings;
    this.#hidden = platform.onHidden?.(() => this.#post("sync"));
    if (onHang) this.#watchdog = new Watchdog(() => this.#post("ping"), onHang);
    const rehearsal = surroundings.rehearse === false ? undefined : locate(platform.rehearsal);
    this.#post("start", { kernel: locate(surroundings.kernel ?? platform.kernel), rehearsal, ...what });
  }

  /** Programs the host started that run; after a restore, those of the machine the snapshot was made of. */
  get processes() {
    return [...this.#processes.values()];
  }

  /**
   * Starts a program, looked up in PATH if its name has no slash.
   * @param {string} file
   * @param {string[]} [args]
   * @param {SpawnOptions} [options]
   * @returns {Process}
   */
  spawn(file, args = [], { env = {}, cwd = "", tty = false } = {}) {
    const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const strings = [cwd, file, ...args, ...environment];
    if (strings.some((string) => string.includes("\0"))) throw new TypeError("a NUL ends a program's strings");
    this.#lastProcess += 1;
    const key = this.#lastProcess;
    const process = this.#addProcess(key);
    if (this.#ended) process.fail(new AuroraError("the machine is off"));
    const size = tty === true ? DEFAULT_SIZE : tty || null;
    this.#post("spawn", { key, tty: size, argc: args.length + 1, envc: environment.length, strings });
    return process;
  }

  /** @param {number} key */
  #addProcess(key) {
    const process = new Process((type, more) => this.#post(type, { key, ...more }));
    this.#processes.set(key, process);
    process.exit.catch(() => {}).then(() => this.#processes.delete(key));
    return process;
  }

  /**
   * Everything there is of the machine as it is now. With a disk, that is copied at the same moment as a snapshot of this
   * name, which going on needs.
   * @param {string} [disk]
   * @returns {Promise<Uint8Array>}
   */
  snapshot(disk) {
    return this.#call("snapshot", disk);
  }

  /**
   * A look inside.
   * @returns {Promise<Statistics>}
   */
  statistics() {
    return this.#call("statistics");
  }

  /** Gives the console input, as if it had been typed. @param {string} text */
  type(text) {
    this.#console.type(text);
  }

  /**
   * Puts everything that is only in memory on the disks; done once it is there.
   * @returns {Promise<void>}
   */
  sync() {
    return this.#call("sync");
  }

  /**
   * Fetches what was not touched yet of disks with a `base`; once it is there they need no network.
   * @returns {Promise<void>}
   */
  fetchDisks() {
    return this.#call("fetchDisks");
  }

  /** Turns the machine off; done once it is. */
  async shutdown() {
    this.#post("shutdown");
    await this.ended;
  }

  /** Pulls the plug. */
  terminate() {
    this.#end({ kind: "off", message: "terminated" });
  }

  /**
   * @param {string} type
   * @param {object} [more]
   */
  #post(type, more) {
    if (!this.#ended) this.#worker.post({ type, ...more });
  }

  /**
   * @param {string} method
   * @param {any[]} args
   * @returns {Promise<any>}
   */
  #call(method, ...args) {
    if (this.#ended) return Promise.reject(new AuroraError("the machine is off"));
    this.#lastCall += 1;
    const call = this.#lastCall;
    return new Promise((resolve, reject) => {
      this.#calls.set(call, { resolve, reject });
      this.#post("call", { call, method, args });
    });
  }

  /** @param {any} message */
  #receive(message) {
    if (this.#ended) return;
    switch (message.type) {
      case "console":
        return this.#console.show(message.bytes);
      case "console taken":
        return this.#console.taken(message.bytes);
      case "link":
        return this.#link?.inlet.receive(message.bytes);
      case "link taken":
        return this.#link?.outlet.taken(message.bytes);
      case "program":
        return this.#processes.get(message.key)?.receive(revived(message));
      case "answer":
        return this.#answered(revived(message));
      case "pong":
        return this.#watchdog?.answered(message.instructions);
      case "disk error":
        return this.#surroundings.onDiskError?.(message.message);
      case "progress":
        return this.#surroundings.onProgress?.(message.progress);
      case "started":
        return this.#started(message);
      case "ended":
        return this.#end(message.ending, message.errno);
    }
  }

  /** @param {{ running: number[], carriesLink: boolean, disks: DiskStatus[] }} message */
  #started({ running, carriesLink, disks }) {
    this.disks = disks;
    for (const key of running) this.#addProcess(key);
    this.#lastProcess = Math.max(0, ...running);
    if (carriesLink) {
      const inlet = new Inlet(
        (bytes) => this.#post("link shown", { bytes }),
        () => this.terminate(),
      );
      this.#link = { inlet, outlet: new Outlet((bytes) => (bytes ? this.#post("link", { bytes }) : this.terminate())) };
    }
    this.#console.started();
    this.#start.resolve();
  }

  /** @param {{ call: number, value?: any, error?: AuroraError }} answer */
  #answered({ call, value, error }) {
    const waiting = this.#calls.get(call);
    this.#calls.delete(call);
    if (error) waiting?.reject(error);
    else waiting?.resolve(value);
  }

  /**
   * @param {Ending} ending
   * @param {{ name: string, number: number }} [errno]
   */
  #end(ending, errno) {
    if (this.#ended) return;
    this.#ended = true;
    this.#worker.stop();
    this.#watchdog?.stop();
    this.#hidden?.dispose();
    this.#console.stop();
    const error = new AuroraError(`the machine ended: ${ending.message}`);
    for (const call of this.#calls.values()) call.reject(error);
    for (const process of this.#processes.values()) process.fail(error);
    this.#link?.inlet.end();
    this.#link?.outlet.fail(error);
    this.#start.reject(new AuroraError(ending.message, errno));
    this.#tellEnded(ending);
  }
}

/**
 * Errors lose their class between threads.
 * @param {any} message
 */
function revived(message) {
  if (!message.error) return message;
  const { text, errno } = message.error;
  return { ...message, error: new AuroraError(text, errno) };
}
