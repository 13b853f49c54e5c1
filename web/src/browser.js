// Aurora in a browser: the machine is in a dedicated worker.
import { install } from "./aurora.js";

export { Aurora } from "./aurora.js";
export { AuroraError } from "./error.js";

/**
 * How long a page that goes waits for its worker to hear of it, in milliseconds: a worker is ended with its page, but what
 * it has begun it may finish, and its turns are shorter than this. Nothing else tells a page of a worker while it goes.
 */
const HEARD_MS = 40;

install({
  // As bundlers want it written, so that they find the files that belong to the package.
  kernel: new URL("./aurora.wasm", import.meta.url),
  rehearsal: new URL("./rehearsal.cpio", import.meta.url),
  locate: (place) => new URL(place, document.baseURI).href,
  locateDisk: (name) => name,
  persist: async () => navigator.storage?.persist?.(),
  onHidden(act) {
    const hidden = () => document.visibilityState === "hidden" && act();
    document.addEventListener("visibilitychange", hidden);
    const leaving = () => {
      act();
      const until = performance.now() + HEARD_MS;
      while (performance.now() < until);
    };
    addEventListener("pagehide", leaving);
    return {
      dispose() {
        document.removeEventListener("visibilitychange", hidden);
        removeEventListener("pagehide", leaving);
      },
    };
  },
  startWorker(receive, failed) {
    const worker = new Worker(new URL("./browser-worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => receive(data);
    worker.onerror = (event) => failed(event.message ?? "the worker did not load");
    return {
      post: (message, transfer = []) => worker.postMessage(message, transfer),
      stop: () => worker.terminate(),
    };
  },
});
