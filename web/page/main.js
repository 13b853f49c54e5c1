// The page: a machine, a terminal on its console, and what a person does with both.
import { Aurora } from "aurora-os";
import * as disk from "./disk.js";
import * as keys from "./keys.js";
import * as screens from "./screens.js";
import * as settings from "./settings.js";
import { copy, create, paste } from "./terminal.js";
import { tell } from "./words.js";

const element = (id) => document.getElementById(id);

const { terminal, apply } = create(element("terminal"));
settings.connect(apply);
const withHeldKeys = keys.connect(element("keys"), terminal);
terminal.focus();

/** The terminal as the machine sees it: keys pass the key row. */
const consoleTerminal = {
  get rows() {
    return terminal.rows;
  },
  get cols() {
    return terminal.cols;
  },
  write: (bytes, done) => terminal.write(bytes, done),
  onData: (listener) => terminal.onData((text) => listener(withHeldKeys(text))),
  onBinary: (listener) => terminal.onBinary(listener),
  onResize: (listener) => terminal.onResize(listener),
};

const surroundings = {
  terminal: consoleTerminal,
  onLog: screens.logged,
  onProgress: screens.progress,
  onDiskError: tell,
  onHang(news) {
    hangs = news !== null;
    screens.hang(news);
  },
};

/** @type {Aurora | undefined} */
let os;
/** Whether it does not answer. */
let hangs = false;
let saved;
/** Which start is the last: an earlier one's end is no news. */
let latest = 0;

async function start(text, launch) {
  latest += 1;
  const mine = latest;
  const earlier = os;
  os = undefined;
  screens.starting(text);
  try {
    // Its disk is free, and all that was written is on it, once it has gone.
    await gone(earlier);
    const started = await launch();
    // Somebody was faster.
    if (mine !== latest) return started.terminate();
    os = started;
    screens.status("on", "Running");
    // What does not come now is asked for when it is touched, and missed then.
    started.fetchDisks().catch(() => {});
    const ending = await os.ended;
    if (mine !== latest) return undefined;
    os = undefined;
    return ending.kind === "restart" ? boot() : screens.ended(ending, saved !== undefined);
  } catch (error) {
    if (mine !== latest) return undefined;
    if (error.code === "EBUSY") return screens.inUse();
    screens.ended({ kind: "failed", message: error.message }, saved !== undefined);
  }
}

/** How long a system may take to go down, in milliseconds: it may hang. */
const PATIENCE = 3000;

async function gone(machine) {
  if (!machine) return;
  if (!hangs) {
    machine.shutdown();
    await Promise.race([machine.ended, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  }
  machine.terminate();
  hangs = false;
}

/** Starts the system on its disk; `changes` say what is other than usual about that. */
function boot(changes) {
  terminal.reset();
  start("Starting", async () => Aurora.boot({ ...surroundings, disks: [await disk.options(changes)] }));
}

/** Starts it on a copy of the disk another tab has. */
function look() {
  terminal.reset();
  start("Copying the disk", async () => {
    const copy = await disk.borrow();
    try {
      return await Aurora.boot({ ...surroundings, disks: [copy.disk] });
    } finally {
      await copy.done();
    }
  });
}

async function save() {
  saved = await os.snapshot(disk.SAVED);
  element("restore").disabled = false;
  screens.status("on", `Saved, ${(saved.length / 1e6).toFixed(0)} MB`);
  return saved;
}

function restore(snapshot = saved) {
  start("Restoring", async () => {
    const restored = await Aurora.restore(snapshot, { ...surroundings, disks: [await disk.saved()] });
    screens.running();
    return restored;
  });
}

const actions = {
  save,
  restore: () => restore(),
  restart: () => boot(),
  "ending-restart": () => boot(),
  "take-over": () => boot({ busy: "take" }),
  look,
  "ending-restore": () => restore(),
  copy: () => copy(terminal),
  paste: () => paste(terminal),
  "full-screen": () =>
    document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen(),
};
for (const [id, act] of Object.entries(actions)) {
  element(id).onclick = async () => {
    await Promise.resolve(act()).catch((error) => tell(error.message));
    for (const panel of ["settings", "disk"]) element(panel).hidePopover();
    terminal.focus();
  };
}
element("hang").querySelector("button").onclick = () => boot();

disk.connect({ machine: () => os, boot });

// A narrow bar has no room for the machine's buttons: they move to the settings.
const narrow = matchMedia("(max-width: 560px)");
const [bar, menu] = [document.querySelector(".actions"), document.querySelector(".narrow")];
const arrange = () => (narrow.matches ? menu : bar).append(element("save"), element("restore"), element("restart"));
narrow.addEventListener("change", arrange);
arrange();

/** For tests and the curious: what the buttons do, and a look inside. */
window.aurora = {
  terminal,
  snapshot: save,
  restore,
  type: (text) => os.type(text),
  statistics: () => os.statistics(),
  fetchDisks: () => os.fetchDisks(),
};

boot();
