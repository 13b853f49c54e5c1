// Files between this computer and the machine.

/** Where files come in. */
const HOME = "/root";
/** Bytes of a file given at a time. */
const PIECE = 1 << 20;

/** Lets a person choose a file; `undefined` if none is chosen. */
export function choose() {
  const input = Object.assign(document.createElement("input"), { type: "file" });
  return new Promise((resolve) => {
    input.onchange = () => resolve(input.files[0]);
    input.oncancel = () => resolve(undefined);
    input.click();
  });
}

/** Writes files into the machine, below its home, in pieces: none has to fit in memory. */
export async function put(os, files) {
  for (const { path, file } of files) {
    const target = `${HOME}/${path}`;
    await os.fs.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    await os.fs.writeFile(target, new Uint8Array());
    for (let at = 0; at < file.size; at += PIECE) {
      const piece = new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer());
      await os.fs.writeFile(target, piece, { append: true });
    }
  }
}

/** A file of the machine's, by its path there; a relative one is below home. */
export async function get(os, path) {
  const bytes = await os.fs.readFile(path.startsWith("/") ? path : `${HOME}/${path}`);
  return new File([bytes], path.split("/").at(-1) || "file");
}

/** Gives a person a file to keep. */
export function save(file) {
  const url = URL.createObjectURL(file);
  Object.assign(document.createElement("a"), { href: url, download: file.name }).click();
  // The download has begun when the event has been handled; the bytes stay until then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The same for a stream: to where the person says, or, where the browser does not ask, by way of its temporary files. */
export async function saveStream(stream, name, type) {
  save(new File([await new Response(stream).blob()], name, { type }));
}

/** Files and folders dropped on `target` go to `take`. */
export function acceptDrops(target, attempt, take) {
  target.addEventListener("dragover", (event) => event.preventDefault());
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    // What was dropped is gone after this event: its entries are taken now.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const dropped = items.map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
    const found = dropped.map(({ entry, file }) => (entry ? walk(entry) : [{ path: file.name, file }]));
    attempt(async () => take((await Promise.all(found)).flat()))(event);
  });
}

/** The files of an entry, with their paths. */
async function walk(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) return [{ path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives so many at a time.
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((child) => walk(child)))).flat();
}
