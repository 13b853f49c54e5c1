// The worker that holds a machine, the same in a browser and in Node. It gives the machine its turns between messages,
// so it is never away from its event loop for long; what it says to the page is answered before it says more.
import { AuroraError } from "./error.js";
import { inSlices } from "./disk-copy.js";
import { isPublished, openPublished } from "./disk-published.js";
import { answerFor } from "./disk-store.js";
import { Link } from "./link.js";
import { CONSOLE, LINK, Machine, RESTART, Runner, TURN_MS } from "./machine.js";
import { Rehearsal } from "./rehearsal.js";
import { Requests } from "./requests.js";

/** @import { Disk, DiskOptions, Ending, SnapshotCall, WorkerPort } from "./types.js" */

/** Calls of the page that are answered. */
const FILE_CALLS = [
  ...["readFile", "writeFile", "readdir", "mkdir", "rm", "stat", "rename", "symlink", "chmod"],
  ...["watch", "events", "unwatch"],
];

/** How long the kernel may take to write what is dirty, at once, in milliseconds. */
const SYNC_MS = 2000;
/** How long a system may take to go down when its disk is wanted elsewhere. */
const GIVE_UP_MS = 5000;

/** A turn of the event loop without the 4 ms a nested setTimeout takes. */
function turns() {
  // Node hands a port up to a thousand messages in a row before anybody else gets a turn.
  if ("setImmediate" in globalThis) return (/** @type {() => void} */ callback) => void setImmediate(callback);
  const channel = new MessageChannel();
  /** @type {() => void} */
  let turn = () => {};
  channel.port1.onmessage = () => turn();
  return (/** @type {() => void} */ callback) => {
    turn = callback;
    channel.port2.postMessage(null);
  };
}

/** A machine and its messages. */
class Keeper {
  #port;
  /** @type {Machine} */
  #machine;
  /** @type {Runner} */
  #runner;
  /** @type {Link} */
  #link;
  /** @type {Rehearsal | undefined} */
  #rehearsal;
  /** @type {Requests} */
  #files;
  /** @type {Disk[]} */
  #disks = [];
  /** @type {string[]} */
  #names = [];
  /** Who waits for a sync. @type {{ number: number, resolve: () => void }[]} */
  #syncs = [];
  /** The page's keys of programs, by the link's ids, and the other way round. @type {Map<number, number>} */
  #keys = new Map();
  /** @type {Map<number, number>} */
  #ids = new Map();
  /** Says that programs can be started. */
  #started = () => {};
  /** Why the machine cannot go on, once it said so. @type {Ending | undefined} */
  #failure;

  /** @param {WorkerPort} port */
  constructor(port) {
    this.#port = port;
  }

  /**
   * @param {string} type
   * @param {object} [more]
   * @param {ArrayBuffer[]} [transfer]
   */
  #say(type, more, transfer) {
    this.#port.post({ type, ...more }, transfer);
  }

  /** @param {any} message */
  async receive(message) {
    try {
      await this.#act(message);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {any} message */
  #act(message) {
    const id = this.#ids.get(message.key) ?? 0;
    const isOfProgram = message.key !== undefined && message.type !== "spawn";
    // What is said of a program that ended meanwhile is about nobody.
    if (isOfProgram && id === 0) return undefined;
    switch (message.type) {
      case "start":
        return this.#start(message);
      case "call":
        return this.#call(message);
      case "spawn":
        return this.#spawn(message);
      case "stdin":
        return this.#link.input(id, message.bytes);
      case "signal":
        return this.#link.signal(id, message.number);
      case "resize":
        return this.#link.resize(id, message.rows, message.cols);
      case "taken":
        return this.#link.taken(id, message.stream, message.bytes);
      case "close output":
        return this.#link.closeOutput(id, message.stream);
      case "console":
        return this.#runner.input(CONSOLE, message.bytes);
      case "console shown":
        return this.#runner.acknowledge(CONSOLE, message.bytes);
      case "console size":
        return this.#link?.resize(0, message.rows, message.cols);
      case "link":
        return this.#runner.input(LINK, message.bytes);
      case "link shown":
        return this.#runner.acknowledge(LINK, message.bytes);
      case "shutdown":
        return this.#link?.shutdown();
      case "sync":
        return this.#sync();
      case "ping":
        return this.#say("pong", { instructions: this.#machine?.retired ?? 0 });
    }
  }

  /** @param {any} message */
  async #start({ kernel, image, disks = [], memory, commandLine, snapshot, carriesLink = false, rehearsal }) {
    this.#progress("kernel", 0);
    const module = await this.#compile(kernel);
    this.#names = disks.map((/** @type {DiskOptions} */ { name }) => name);
    for (const disk of disks) this.#disks.push(await this.#open(disk));
    const on = {
      print: (/** @type {string} */ line) => (this.#failure = { kind: "failed", message: line }),
      panicked: (/** @type {string} */ message, /** @type {string} */ place) =>
        (this.#failure = { kind: "panic", message, place }),
      wake: () => this.#runner?.wake(),
    };
    this.#machine = await Machine.load(module, on, this.#disks);
    if (snapshot) {
      this.#machine.restore(snapshot);
    } else {
      const archive = image === undefined ? new Uint8Array() : await this.#load(image);
      this.#progress("system", 0);
      if (!this.#machine.boot({ megabytes: memory, commandLine, archive }))
        throw new Error("the machine does not start");
    }
    this.#link = new Link(
      this.#machine,
      (news) => this.#program(news),
      () => this.#runner.wake(),
    );
    this.#files = new Requests(this.#link);
    const running = snapshot ? this.#link.adopt() : [];
    for (const id of running) this.#know(id, id);
    if (rehearsal) this.#rehearse(module, rehearsal);
    const ports = carriesLink ? [CONSOLE, LINK] : [CONSOLE];
    const status = (/** @type {Disk} */ { size, readOnly, store }, /** @type {number} */ i) => ({
      name: disks[i].name,
      size,
      readOnly,
      store,
    });
    const started = () => this.#say("started", { running, carriesLink, disks: this.#disks.map(status) });
    this.#run(ports, started);
    // A system that was restored, or whose link somebody else reads, says nothing more of its start.
    if (snapshot || carriesLink) started();
  }

  /**
   * @param {WebAssembly.Module} module
   * @param {string} archive
   */
  #rehearse(module, archive) {
    const load = async () => new Uint8Array(await (await this.#fetch(archive)).arrayBuffer());
    this.#rehearsal = new Rehearsal({ module, load, rests: () => this.#runner.rests, soon: turns() });
  }

  /**
   * @param {number[]} ports
   * @param {() => void} started
   */
  #run(ports, started) {
    const soon = turns();
    this.#started = started;
    this.#runner = new Runner(this.#machine, {
      ports,
      soon: (callback) =>
        soon(() => {
          try {
            callback();
          } catch (error) {
            this.#fail(error);
          }
        }),
      exchange: ports.includes(LINK) ? undefined : () => this.#link.exchange(),
      output: (port, bytes) => this.#say(port === CONSOLE ? "console" : "link", { bytes }, [bytes.buffer]),
      turned: () => this.#settleSyncs(),
      rests: () => this.#rehearsal?.rest(),
      taken: (port, bytes) => this.#say(port === CONSOLE ? "console taken" : "link taken", { bytes }),
      ended: (code) =>
        this.#end(
          code === RESTART
            ? { kind: "restart", message: "the system asked to be started anew" }
            : { kind: "off", message: "the system turned itself off" },
        ),
    });
  }

  /** @param {any} source */
  async #compile(source) {
    if (source instanceof WebAssembly.Module) return source;
    if (typeof source !== "string") return WebAssembly.compile(await new Response(source).arrayBuffer());
    const response = await this.#fetch(source);
    // Only what is declared as WebAssembly may be compiled while it comes.
    return response.headers.get("content-type") === "application/wasm"
      ? WebAssembly.compileStreaming(response)
      : WebAssembly.compile(await response.arrayBuffer());
  }

  /** @param {string} place */
  async #fetch(place) {
    const response = await this.#port.fetch(place);
    if (!response.ok) throw new AuroraError(`${place}: ${response.status} ${response.statusText}`);
    return response;
  }

  /**
   * Loads an image and says how far it is.
   * @param {any} source
   */
  async #load(source) {
    return new Uint8Array(await new Response(await this.#stream(source, "image")).arrayBuffer());
  }

  /** @param {DiskOptions} options */
  async #open(options) {
    const { name, image, base } = options;
    const holder = {
      giveUp: () => this.#giveUp(),
      snapshots: (/** @type {string} */ name, /** @type {SnapshotCall} */ call) =>
        answerFor(this.#disks[this.#names.indexOf(name)], call, () => this.#sync()),
    };
    const opened = image === undefined ? undefined : () => this.#stream(image, "disk");
    if (!base) return this.#ordinary(name, await this.#port.openDisk(options, opened, holder));
    /** @param {{ size: number, image: () => Promise<ReadableStream<Uint8Array>> }} [made] */
    const openLocal = (made) =>
      made
        ? this.#port.openDisk({ ...options, size: made.size, replace: true }, made.image, holder)
        : this.#port.openDisk({ ...options, size: undefined }, opened, holder);
    const trouble = (/** @type {string} */ message) => this.#say("disk error", { message: `${name}: ${message}` });
    return openPublished({ ...options, base }, openLocal, (...ask) => this.#port.fetch(...ask), trouble);
  }

  /**
   * A disk with all of itself on it. One that begins as a published image is no use without that.
   * @param {string} name
   * @param {Disk} disk
   */
  async #ordinary(name, disk) {
    const head = new Uint8Array(Math.min(disk.size, 4096));
    await disk.read(0, head);
    if (!isPublished(head)) return disk;
    await disk.close();
    throw new AuroraError(`the disk ${name} begins as a published image: tell which with \`base\``);
  }

  /**
   * Has the kernel put everything on the disks. With disks that answer at once it is there when this returns, which
   * counts when the page is about to go.
   * @returns {Promise<void>}
   */
  #sync() {
    // It has not started yet.
    if (!this.#runner || this.#disks.length === 0) return Promise.resolve();
    const number = this.#machine.sync();
    const until = performance.now() + SYNC_MS;
    while (this.#machine.disksAnswer && !this.#machine.isSynced(number) && performance.now() < until) {
      this.#machine.run(TURN_MS);
    }
    this.#runner.wake();
    if (this.#machine.isSynced(number)) return Promise.resolve();
    return new Promise((resolve) => this.#syncs.push({ number, resolve }));
  }

  async #fetchDisks() {
    for (const disk of this.#disks) await disk.complete?.();
  }

  #settleSyncs() {
    const [first] = this.#syncs;
    if (!first || !this.#machine.isSynced(first.number)) return;
    this.#syncs.shift();
    first.resolve();
    this.#settleSyncs();
  }

  /**
   * The machine, and its disk as it is at the same moment.
   * @param {string | undefined} name of the disk's snapshot
   */
  async #snapshot(name) {
    const [disk, ...more] = this.#disks;
    if (!disk) return this.#machine.snapshot();
    if (name === undefined) throw new AuroraError("a machine with a disk goes on from a snapshot of that only: name one");
    // Another store's disk may be in the middle of what the machine asked for.
    if (more.length > 0 || !disk.snapshots || disk.store !== "opfs") {
      throw new AuroraError("only a machine with one disk, in the private file system, can be saved");
    }
    /** @type {Uint8Array | undefined} */
    let memory;
    await disk.snapshots.make(name, () => (memory = this.#machine.snapshot()));
    return memory;
  }

  /** Another machine wants a disk: the system goes down as at the turn of a switch. */
  #giveUp() {
    if (this.#failure) return;
    this.#failure = { kind: "taken", message: "another tab has taken the disk over" };
    this.#link?.shutdown();
    // A system that does not go down loses what it has not written.
    setTimeout(() => this.#end({ kind: "off", message: "" }), GIVE_UP_MS);
  }

  /**
   * A source's bytes as they come; says how far it is.
   * @param {any} source
   * @param {string} stage
   * @returns {Promise<ReadableStream<Uint8Array>>}
   */
  async #stream(source, stage) {
    if (source instanceof Blob) return this.#counted(inSlices(source), stage, source.size);
    if (source.snapshot !== undefined) {
      if (!this.#port.readSnapshot) throw new AuroraError("snapshots of disks are a browser's");
      return this.#counted(await this.#port.readSnapshot(source.disk, source.snapshot), stage);
    }
    const response = typeof source === "string" ? await this.#fetch(source) : new Response(source);
    const length = response.headers.get("content-length");
    // The length is of what travels, which may be compressed.
    const total = length && !response.headers.has("content-encoding") ? Number(length) : undefined;
    return this.#counted(/** @type {ReadableStream} */ (response.body), stage, total);
  }

  /**
   * @param {ReadableStream<Uint8Array>} stream
   * @param {string} stage
   * @param {number} [total]
   */
  #counted(stream, stage, total) {
    let loaded = 0;
    const count = new TransformStream({
      transform: (part, controller) => {
        loaded += part.length;
        this.#progress(stage, loaded, total);
        controller.enqueue(part);
      },
    });
    return stream.pipeThrough(count);
  }

  /** @param {string} stage @param {number} loaded @param {number} [total] */
  #progress(stage, loaded, total) {
    this.#say("progress", { progress: { stage, loaded, total } });
  }

  /** @param {number} key @param {number} id */
  #know(key, id) {
    this.#keys.set(id, key);
    this.#ids.set(key, id);
  }

  /** @param {any} message */
  #spawn(message) {
    const id = this.#link.spawn(message);
    if (id === 0) this.#say("program", { key: message.key, event: "failed", error: plain(this.#link.error(E2BIG)) });
    else this.#know(message.key, id);
  }

  /** @param {import("./link.js").News} news */
  #program({ event, id, number, bytes }) {
    if (event === "ready") return this.#started();
    const key = this.#keys.get(id);
    if (event === "exit" || event === "failed") {
      this.#keys.delete(id);
      this.#ids.delete(/** @type {number} */ (key));
    }
    const error = event === "failed" ? plain(this.#link.error(number)) : undefined;
    this.#say("program", { key, event, error, bytes, number });
  }

  /** @param {{ call: number, method: string, args: any[] }} message */
  async #call({ call, method, args }) {
    try {
      const value = await this.#answer(method, args);
      this.#say(
        "answer",
        { call, value },
        value instanceof Uint8Array ? [/** @type {ArrayBuffer} */ (value.buffer)] : [],
      );
    } catch (error) {
      this.#say("answer", { call, error: plain(error) });
    }
  }

  /**
   * @param {string} method
   * @param {any[]} args
   * @returns {any}
   */
  #answer(method, args) {
    if (method === "snapshot") return this.#snapshot(args[0]);
    if (method === "sync") return this.#sync();
    if (method === "fetchDisks") return this.#fetchDisks();
    if (method === "statistics") {
      return {
        instructions: this.#machine.retired,
        memory: this.#machine.bytes,
        unshown: this.#runner.unacknowledged(CONSOLE),
        untaken: this.#runner.waiting(CONSOLE),
        rehearsed: this.#rehearsal?.isDone ?? false,
      };
    }
    if (FILE_CALLS.includes(method)) return /** @type {any} */ (this.#files)[method](...args);
    throw new AuroraError(`no call ${method}`);
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#runner?.stop();
    // The kernel's own last words say more than the trap that followed them.
    const { errno } = error instanceof AuroraError ? plain(error) : {};
    this.#end({ kind: "failed", message: error instanceof Error ? error.message : String(error) }, errno);
  }

  /**
   * @param {Ending} ending
   * @param {{ name: string, number: number }} [errno] why it did not start
   */
  async #end(ending, errno) {
    this.#runner?.stop();
    this.#rehearsal?.stop();
    const disks = this.#disks.splice(0);
    // The disk is somebody else's from now on. What cannot be flushed any more has been told by fsync(2).
    await Promise.allSettled(disks.map(async (disk) => disk.close()));
    this.#say("ended", { ending: this.#failure ?? ending, errno });
  }
}

const E2BIG = 7;

/**
 * An error as it crosses threads.
 * @param {unknown} error
 */
function plain(error) {
  const { message, code, errno } = /** @type {AuroraError} */ (error);
  return { text: message, errno: code && errno ? { name: code, number: errno } : undefined };
}

/**
 * Keeps the machine the page asks for.
 * @param {WorkerPort} port
 */
export function keep(port) {
  const keeper = new Keeper(port);
  port.listen((message) => keeper.receive(message));
}
