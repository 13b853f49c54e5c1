// Notices a worker that hangs: it is asked every second, and must have answered after a few.

/** @import { Hang } from "./types.js" */

const TICK_MS = 1000;
/** Ticks without an answer that are a hang. Counted in ticks, so a machine that slept is not blamed for it. */
const PATIENCE = 4;

export class Watchdog {
  #ask;
  #tell;
  #timer;
  #unanswered = 0;
  #since = 0;
  #instructions = 0;

  /**
   * @param {() => void} ask
   * @param {(hang: Hang | null) => void} tell
   */
  constructor(ask, tell) {
    this.#ask = ask;
    this.#tell = tell;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    // In Node: the machine's worker keeps the process alive, not its watchdog.
    /** @type {any} */ (this.#timer).unref?.();
  }

  #tick() {
    if (this.#unanswered === 0) {
      this.#since = performance.now();
      this.#ask();
    }
    this.#unanswered += 1;
    if (this.#unanswered > PATIENCE) {
      this.#tell({ milliseconds: performance.now() - this.#since, instructions: this.#instructions });
    }
  }

  /**
   * The worker answered.
   * @param {number} instructions
   */
  answered(instructions) {
    const hung = this.#unanswered > PATIENCE;
    this.#unanswered = 0;
    this.#instructions = instructions;
    if (hung) this.#tell(null);
  }

  stop() {
    clearInterval(this.#timer);
  }
}
