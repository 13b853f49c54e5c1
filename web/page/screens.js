// What lies over the terminal: the start, the end, and a machine that does not answer.

const element = (id) => document.getElementById(id);

const STAGES = { kernel: "Loading the kernel", disk: "Making the disk", image: "Loading the image", system: "Starting the system" };
/** How far along the bar each stage begins and ends. */
const SPANS = { kernel: [0.05, 0.35], disk: [0.35, 0.75], image: [0.35, 0.75], system: [0.75, 0.95] };
const LOG_LINES = 6;

const ENDINGS = {
  off: ["Powered off", "The system turned itself off."],
  taken: ["Running elsewhere", "Another tab has taken the disk over, and the system here was turned off."],
  panic: [
    "Kernel panic",
    "The kernel found itself in a state it cannot go on from. Nothing outside this tab was touched.",
  ],
  failed: ["The machine stopped", "It did not end by itself."],
};

export function status(state, text) {
  element("status").dataset.state = state;
  element("status").textContent = text;
  // There is a machine to keep a copy of only while one runs.
  element("save").disabled = state !== "on";
}

let log = [];

/** Shows that a machine starts. */
export function starting(text) {
  log = [];
  element("log").textContent = "";
  element("stage").textContent = text;
  element("progress").removeAttribute("value");
  element("splash").classList.remove("done");
  element("ending").hidden = true;
  element("in-use").hidden = true;
  hang(null);
  status("busy", text);
}

export function progress({ stage, loaded, total }) {
  const [from, to] = SPANS[stage];
  element("progress").value = from + (to - from) * (total ? loaded / total : loaded > 0 ? 0.5 : 0);
  const size = loaded > 0 ? ` · ${(loaded / 1e6).toFixed(1)} MB` : "";
  element("stage").textContent = STAGES[stage] + size;
}

/** A line of the console: the kernel's own ones begin with the time. Anything else is a program that runs. */
export function logged(line) {
  if (!/^\[ *\d+\.\d+\]/.test(line)) return running();
  log = [...log, line].slice(-LOG_LINES);
  element("log").textContent = log.join("\n");
}

/** There is something on the terminal to look at. */
export function running() {
  element("splash").classList.add("done");
}

/** Shows how a machine ended. */
export function ended({ kind, message, place }, canRestore) {
  const [title, text] = ENDINGS[kind];
  const details = ["off", "taken"].includes(kind) ? "" : place ? `${message}\n\nat ${place}` : message;
  element("splash").classList.add("done");
  hang(null);
  element("ending").dataset.kind = kind;
  element("ending-title").textContent = title;
  element("ending-text").textContent = text;
  element("ending-details").textContent = details;
  element("ending-details").hidden = details === "";
  element("ending-restore").hidden = !canRestore;
  element("ending").hidden = false;
  element("ending-restart").focus();
  status(kind === "off" ? "off" : "failed", title);
}

/** Tells that another tab has the disk. */
export function inUse() {
  element("splash").classList.add("done");
  element("in-use").hidden = false;
  element("take-over").focus();
  status("off", "In use in another tab");
}

/** Names a machine that does not answer, until it does. */
export function hang(news) {
  const box = element("hang");
  if (!news) {
    if (!box.hidden) status("on", "Running");
    box.hidden = true;
    return;
  }
  const seconds = Math.round(news.milliseconds / 1000);
  const millions = (news.instructions / 1e6).toFixed(1);
  box.querySelector("p").textContent =
    `The kernel’s worker has not answered for ${seconds} s (after ${millions} million instructions).`;
  box.hidden = false;
  status("failed", "Not answering");
}
