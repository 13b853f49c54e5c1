// A worker that has a disk while nobody else does, so that its snapshots can be looked after without a machine. It is told
// the disk's name, says when it has it, and gives it back when it is told anything more.
import { openDisk } from "./browser-disk.js";
import { answerFor } from "./disk-store.js";

/** @import { Disk } from "./types.js" */

/** @type {Disk | undefined} */
let disk;

self.onmessage = async ({ data }) => {
  const closes = disk;
  try {
    if (closes) await closes.close();
    else {
      const holder = {
        isBrief: true,
        giveUp() {},
        snapshots: (/** @type {string} */ _, /** @type {any} */ call) => answerFor(disk, call),
      };
      disk = await openDisk({ name: data }, undefined, holder);
    }
    self.postMessage({});
  } catch (/** @type {any} */ error) {
    self.postMessage({ error: { message: error.message, errno: error.code && { name: error.code, number: error.errno } } });
  }
};
