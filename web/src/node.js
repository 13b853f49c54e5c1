// Aurora in Node: the machine is in a worker thread.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { install } from "./aurora.js";

export { Aurora } from "./aurora.js";
export { AuroraError } from "./error.js";

install({
  kernel: new URL("./aurora.wasm", import.meta.url),
  rehearsal: new URL("./rehearsal.cpio", import.meta.url),
  locate: (place) => (URL.canParse(place) ? String(place) : pathToFileURL(String(place)).href),
  locateDisk: (name) => resolve(name),
  startWorker(receive, failed) {
    const worker = new Worker(new URL("./node-worker.js", import.meta.url));
    worker.on("message", receive);
    worker.on("error", (error) => failed(error.message));
    worker.on("exit", () => failed("the worker ended"));
    return {
      post: (message, transfer = []) => worker.postMessage(message, transfer),
      stop: () => void worker.terminate(),
    };
  },
});
