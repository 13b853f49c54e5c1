// The disk: where it is kept, how full it is, its snapshots, and what a person does with it and its files.
import { disks } from "aurora-os/disks";
import { KEY } from "./base.js";
import * as files from "./files.js";
import { confirm, gigabytes, tell } from "./words.js";

/** The name of the page's disk among those of this origin. */
export const NAME = "root";
/** What a new one begins as: fetched as it is touched, and the rest after the start. */
const BASE = { url: new URL("disk/", import.meta.url).href, key: KEY };
/** The same in one piece, for browsers that cannot verify the other. */
const FACTORY = new URL("disk.img.gz", import.meta.url);
/** Of a snapshot that belongs to a saved machine. */
export const SAVED = "saved machine";

const STORES = {
  opfs: "Kept by this browser, in this site’s private files",
  indexeddb: "Kept in this browser’s database: this browser has no private files for sites here, so it is slower",
  cache: "Kept in this browser’s cache, which it may empty: it offers nothing better here",
  memory: "In memory only: everything is lost when this tab is closed",
};

const element = (id) => document.getElementById(id);

/** Whether this browser knows the signatures of published images: not all do, and none outside a secure context. */
const verifies = (async () => {
  const key = Uint8Array.from(KEY.match(/../g), (pair) => parseInt(pair, 16));
  return globalThis.crypto?.subtle?.importKey("raw", key, "Ed25519", false, ["verify"]).then(Boolean, () => false);
})();

/** The disk to boot from. */
export const options = async (more = {}) => {
  const from = (await verifies) ? { base: BASE } : { image: FACTORY };
  return { name: NAME, ...from, ...more };
};

/** The disk as it was when the machine was saved. */
export const saved = async () => options({ snapshot: SAVED });

/**
 * Connects the panel; `machine` gives the machine that runs, `boot` starts one with a changed disk.
 * @param {{ machine: () => import("aurora-os").Aurora | undefined, boot: (disk?: object) => void }} page
 */
export function connect({ machine, boot }) {
  const panel = element("disk");
  const attempt = (act) => async (event) => {
    panel.dataset.busy = "";
    try {
      await act(event);
    } catch (error) {
      tell(error.message);
    } finally {
      delete panel.dataset.busy;
      await show();
    }
  };
  const show = () => refresh(machine(), { restore, remove });
  const restore = attempt(async (event) => {
    const { snapshot } = event.target.dataset;
    if (!(await confirm(`Go back to “${snapshot}”? What was changed since is lost.`, "Go back"))) return;
    boot({ snapshot });
  });
  const remove = attempt(async (event) => {
    const { snapshot } = event.target.dataset;
    if (await confirm(`Delete the snapshot “${snapshot}”?`, "Delete")) await disks.removeSnapshot(NAME, snapshot);
    // The question took the panel's place.
    panel.showPopover();
  });
  const actions = {
    "disk-snapshot": () => disks.makeSnapshot(NAME, free(new Date())),
    "disk-export": () => exportDisk(machine()),
    "disk-import": async () => {
      const file = await files.choose();
      if (file && (await confirm(`Put “${file.name}” in place of this disk? All that is on it is lost.`, "Import"))) {
        boot({ image: file, replace: true });
      }
    },
    "disk-reset": async () => {
      if (await confirm("Make the disk new? All files on it are lost. Snapshots stay.", "Reset")) boot({ replace: true });
    },
    "disk-upload": async () => {
      const file = await files.choose();
      if (file) await files.put(machine(), [{ path: file.name, file }]);
    },
    "disk-download": async () => files.save(await files.get(machine(), element("disk-path").value)),
  };
  for (const [id, act] of Object.entries(actions)) element(id).onclick = attempt(act);
  panel.addEventListener("toggle", ({ newState }) => newState === "open" && show());
  files.acceptDrops(element("terminal"), attempt, (dropped) => files.put(machine(), dropped));
}

/** A name for a snapshot made now. */
const free = (date) => date.toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".");

/** The disk as it is now, packed, for tools and machines elsewhere. */
async function exportDisk(machine) {
  await machine?.fetchDisks();
  const copy = `export ${free(new Date())}`;
  await disks.makeSnapshot(NAME, copy);
  try {
    const image = await disks.image(NAME, copy);
    // The empty parts of a disk are most of it: packed they are next to nothing.
    const packed = image.pipeThrough(new CompressionStream("gzip"));
    await files.saveStream(packed, "aurora-disk.img.gz", "application/gzip");
  } finally {
    await disks.removeSnapshot(NAME, copy);
  }
}

/** Shows what is known of the disk. */
async function refresh(machine, { restore, remove }) {
  const disk = machine?.disks[0];
  const isKept = ["opfs", "indexeddb", "cache"].includes(disk?.store);
  element("disk-store").textContent = disk ? STORES[disk.store] : "There is no machine";
  element("disk-store").dataset.store = disk?.store ?? "";
  for (const id of ["disk-snapshot", "disk-export"]) element(id).disabled = !isKept;
  for (const id of ["disk-upload", "disk-download"]) element(id).disabled = !disk;
  const { quota, usage, persisted } = await disks.storage();
  const promise = persisted ? "will not be dropped when room is short" : "may be dropped by the browser when room is short";
  element("disk-room").textContent =
    `${gigabytes(disk?.size ?? 0)} disk; this site uses ${gigabytes(usage)} of ${gigabytes(quota)}, which ${promise}.`;
  element("disk-meter").max = quota || 1;
  element("disk-meter").value = usage;
  const list = isKept ? await disks.snapshots(NAME) : [];
  element("disk-snapshots").replaceChildren(...list.map((snapshot) => item(snapshot, restore, remove)));
  element("disk-none").hidden = list.length > 0;
}

/** A snapshot in the list. */
function item({ name }, restore, remove) {
  const row = document.createElement("li");
  const label = document.createElement("span");
  label.textContent = name;
  const button = (text, act) => {
    const made = document.createElement("button");
    Object.assign(made, { textContent: text, onclick: act });
    made.dataset.snapshot = name;
    made.setAttribute("aria-label", `${text} ${name}`);
    return made;
  };
  row.append(label, button("Go back", restore), button("Delete", remove));
  return row;
}

/** A copy of the disk another tab has, to look at; done once this tab may read it. */
export async function borrow() {
  const copy = `look ${crypto.randomUUID()}`;
  await disks.makeSnapshot(NAME, copy);
  return {
    disk: await options({ image: { disk: NAME, snapshot: copy }, store: "memory" }),
    done: () => disks.removeSnapshot(NAME, copy),
  };
}
