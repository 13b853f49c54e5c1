// The page: a terminal on the console of a system.
import { Terminal } from "./vendor/xterm.mjs";
import { FitAddon } from "./vendor/addon-fit.mjs";
import { CONSOLE, RESTART } from "./machine.js";
import { System } from "./system.js";

const MEGABYTES = 256;

const status = document.getElementById("status");
const buttons = Object.fromEntries(["save", "restore", "restart"].map((id) => [id, document.getElementById(id)]));

const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(`--${name}`).trim();
const theme = () => ({
  background: colour("terminal"),
  foreground: colour("text"),
  cursor: colour("accent"),
  cursorAccent: colour("terminal"),
  selectionBackground: colour("selection"),
});

const terminal = new Terminal({
  fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace',
  fontSize: 15,
  lineHeight: 1.15,
  scrollback: 5000,
  cursorBlink: false,
  minimumContrastRatio: 4.5,
  screenReaderMode: false,
  theme: theme(),
});
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(document.getElementById("terminal"));
fit.fit();
terminal.focus();
new ResizeObserver(() => fit.fit()).observe(document.getElementById("terminal"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (terminal.options.theme = theme()));

let system;
let saved;

function show(state, text) {
  status.dataset.state = state;
  status.textContent = text;
}

function start(options) {
  system?.stop();
  show("busy", options.snapshot ? "restoring" : "starting");
  const mine = new System(options, {
    output(port, bytes) {
      if (port === CONSOLE) terminal.write(bytes, () => mine === system && mine.acknowledge(port, bytes.length));
      else mine.acknowledge(port, bytes.length);
    },
    started: () => show("on", "running"),
    ended: (code) => (code === RESTART ? boot() : show("off", "powered off")),
    failed(message) {
      show("failed", "stopped");
      terminal.write(`\r\n\x1b[31m${message.replaceAll("\n", "\r\n")}\x1b[0m\r\n`);
    },
    // What a terminal does when a machine does not listen.
    refused: () => terminal.write("\x07"),
  });
  system = mine;
}

function boot() {
  terminal.reset();
  const archive = new URL("./image.cpio.gz", import.meta.url).href;
  // A serial line has no size: the environment of init carries it to the shell's profile.
  const size = `LINES=${terminal.rows} COLUMNS=${terminal.cols}`;
  start({ archive, megabytes: MEGABYTES, commandLine: `init=/sbin/init TERM=xterm-256color ${size}` });
}

const encoder = new TextEncoder();
terminal.onData((text) => system.input(CONSOLE, encoder.encode(text)));
terminal.onBinary((text) => system.input(CONSOLE, Uint8Array.from(text, (c) => c.charCodeAt(0))));

async function save() {
  saved = await system.snapshot();
  buttons.restore.disabled = false;
  return saved;
}
/** A snapshot is kept: the worker gets a copy. */
function restore(snapshot = saved) {
  start({ snapshot: snapshot.slice(0) });
}
buttons.save.onclick = () => save().finally(() => terminal.focus());
buttons.restore.onclick = () => (restore(), terminal.focus());
buttons.restart.onclick = () => (boot(), terminal.focus());

/** For tests and the curious: what the buttons do, and a look inside. */
window.aurora = {
  terminal,
  snapshot: save,
  restore,
  type: (text) => system.input(CONSOLE, encoder.encode(text)),
  statistics: () => system.statistics(),
};

boot();
