// The worker's entry in Node.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parentPort } from "node:worker_threads";
import { openDisk } from "./node-disk.js";
import { keep } from "./worker.js";

const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);

keep({
  post: (message, transfer = []) => port.postMessage(message, transfer),
  listen: (receive) => port.on("message", receive),
  // Node's own fetch knows no files.
  fetch: async (place, init) =>
    place.startsWith("file:") ? new Response(await readFile(fileURLToPath(place))) : fetch(place, init),
  openDisk,
});
