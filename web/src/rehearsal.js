// A rehearsal: while a machine has nothing to do yet, a second one of the same module runs a little of everything, unseen.
// Engines compile a function when it is first called and optimize it once it was called often. What they make belongs to
// the module, so the first program somebody starts need not wait for that.
import { Machine, TURN_MS } from "./machine.js";

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
    this.#timer = setTimeout(() => this.#go(), REST_MS);
  }

  /** Gives it up. */
  stop() {
    clearTimeout(this.#timer);
    this.#stage = "over";
    this.#machine = undefined;
  }

  async #go() {
    if (!this.#options.rests()) return;
    try {
      if (this.#stage === "waits") {
        this.#stage = "loads";
        await this.#boot();
        if (this.#stage === "loads") this.#stage = "runs";
      }
      this.#turn();
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  async #boot() {
    const { module, load } = this.#options;
    const archive = await load();
    const trouble = (/** @type {string} */ message) => (this.#trouble = message);
    const machine = await Machine.load(module, { print: trouble, panicked: trouble, wake: () => {} });
    const booted = machine.boot({ megabytes: MEMORY, commandLine: "init=/rehearsal quiet", archive });
    if (!booted) throw new Error("it does not start");
    this.#machine = machine;
  }

  #turn() {
    if (this.#stage !== "runs" || !this.#machine || !this.#options.rests()) return;
    const next = this.#machine.run(TURN_MS);
    this.#turns += 1;
    if (next === Infinity || this.#turns > MOST_TURNS) this.#fail("it does not end");
    else if (next < 0) this.#end();
    else this.#options.soon(() => this.#again());
  }

  #again() {
    try {
      this.#turn();
    } catch (error) {
      this.#fail(String(error));
    }
  }

  #end() {
    const trouble = this.#trouble;
    this.stop();
    if (trouble !== undefined) console.warn(`aurora's rehearsal: ${trouble}`);
  }

  /** @param {string} why */
  #fail(why) {
    this.#trouble ??= why;
    this.#end();
  }
}
