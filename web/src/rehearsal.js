// A rehearsal: while a machine has nothing to do yet, a second one of the same module runs a little of everything, unseen.
// Engines compile a function when it is first called and optimize it once it was called often. What they make belongs to
// the module, so the first program somebody starts need not wait for that.
import { CONSOLE, Machine, TURN_MS } from "./machine.js";

/** Its memory in MiB. */
const MEMORY = 32;
/** How long the machine has had nothing to do when the rehearsal has its turns, in milliseconds. */
const REST_MS = 100;
/** It is given up after so many turns: some seconds. */
const MOST_TURNS = 1000;

/**
 * What a rehearsal needs.
 *
 * @typedef {object} RehearsalOptions
 * @property {WebAssembly.Module} module
 * @property {() => Promise<Uint8Array>} load gives the archive it boots
 * @property {() => boolean} rests whether the machine has nothing to do
 * @property {(callback: () => void) => void} soon runs it after pending events
 */

/** The second machine and its turns. */
export class Rehearsal {
  #options;
  /** @type {Machine | undefined} */
  #machine;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** How often the first machine has come to rest: what was to be done in an earlier rest is not done any more. */
  #rest = 0;
  #stage = /** @type {"waits" | "loads" | "runs" | "over"} */ ("waits");
  #turns = 0;
  /** Why it did not come to its end, once that is so. @type {string | undefined} */
  #trouble;

  /** @param {RehearsalOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Whether it has come to its end as it should. */
  get isDone() {
    return this.#stage === "over" && this.#trouble === undefined;
  }

  /** The machine has nothing to do now. */
  rest() {
    if (this.#stage === "over") return;
    clearTimeout(this.#timer);
    this.#rest += 1;
    const rest = this.#rest;
    this.#timer = setTimeout(() => this.#go(rest), REST_MS);
  }

  /** Gives it up. */
  stop() {
    clearTimeout(this.#timer);
    this.#stage = "over";
    this.#machine = undefined;
  }

  /** @param {number} rest */
  async #go(rest) {
    if (rest !== this.#rest || !this.#options.rests()) return;
    try {
      if (this.#stage === "waits") {
        await this.#boot();
        this.rest();
      } else if (this.#machine) {
        this.#run(this.#machine);
        if (this.#machine) this.#options.soon(() => this.#go(rest));
      }
    } catch (error) {
      this.#end(error instanceof Error ? error.message : String(error));
    }
  }

  async #boot() {
    this.#stage = "loads";
    const { module, load } = this.#options;
    const archive = await load();
    const trouble = (/** @type {string} */ message) => (this.#trouble = message);
    const machine = await Machine.load(module, { print: trouble, panicked: trouble, wake: () => {} });
    if (!machine.boot({ megabytes: MEMORY, commandLine: "init=/rehearsal quiet", archive })) {
      throw new Error("it does not start");
    }
    // It may have been given up meanwhile.
    if (this.#stage !== "loads") return;
    this.#stage = "runs";
    this.#machine = machine;
  }

  /** @param {Machine} machine */
  #run(machine) {
    const next = machine.run(TURN_MS);
    this.#turns += 1;
    if (next === Infinity || this.#turns > MOST_TURNS) return this.#end("it does not end");
    // The program says nothing unless something is wrong.
    if (next < 0) this.#end(new TextDecoder().decode(machine.pull(CONSOLE, 4096)) || undefined);
  }

  /** @param {string} [trouble] */
  #end(trouble) {
    this.stop();
    this.#trouble ??= trouble;
    if (this.#trouble !== undefined) console.warn(`aurora's rehearsal: ${this.#trouble}`);
  }
}
