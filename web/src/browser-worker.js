// The worker's entry in a browser.
import { openDisk } from "./browser-disk.js";
import { streamSnapshot } from "./disk-store.js";
import { keep } from "./worker.js";

keep({
  post: (message, transfer = []) => self.postMessage(message, { transfer }),
  listen: (receive) => (self.onmessage = ({ data }) => receive(data)),
  fetch: (place, init) => fetch(place, init),
  openDisk,
  readSnapshot: (disk, snapshot) => streamSnapshot(disk, snapshot),
});
