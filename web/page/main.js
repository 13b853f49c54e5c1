// The page: a machine, a terminal on its console, and what a person does with both.
import { Aurora } from "aurora-os";
import * as keys from "./keys.js";
import * as screens from "./screens.js";
import * as settings from "./settings.js";
import { copy, create, paste } from "./terminal.js";

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
  onHang: screens.hang,
};

/** @type {Aurora | undefined} */
let os;
let saved;
/** Which start is the last: an earlier one's end is no news. */
let latest = 0;

async function start(text, launch) {
  latest += 1;
  const mine = latest;
  os?.terminate();
  screens.starting(text);
  try {
    const started = await launch();
    // Somebody was faster.
    if (mine !== latest) return started.terminate();
    os = started;
    screens.status("on", "Running");
    const ending = await os.ended;
    if (mine !== latest) return undefined;
    return ending.kind === "restart" ? boot() : screens.ended(ending, saved !== undefined);
  } catch (error) {
    if (mine === latest) screens.ended({ kind: "failed", message: error.message }, saved !== undefined);
  }
}

function boot() {
  terminal.reset();
  start("Starting", () => Aurora.boot({ ...surroundings, image: new URL("image.cpio.gz", import.meta.url) }));
}

async function save() {
  saved = await os.snapshot();
  element("restore").disabled = false;
  screens.status("on", `Saved, ${(saved.length / 1e6).toFixed(0)} MB`);
  return saved;
}

function restore(snapshot = saved) {
  start("Restoring", async () => {
    const restored = await Aurora.restore(snapshot, surroundings);
    screens.running();
    return restored;
  });
}

const actions = {
  save,
  restore: () => restore(),
  restart: boot,
  "ending-restart": boot,
  "ending-restore": () => restore(),
  copy: () => copy(terminal),
  paste: () => paste(terminal),
  "full-screen": () =>
    document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen(),
};
for (const [id, act] of Object.entries(actions)) {
  element(id).onclick = async () => {
    await act();
    element("settings").hidePopover();
    terminal.focus();
  };
}
element("hang").querySelector("button").onclick = boot;

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
};

boot();
