// Aurora in Node. Its console is this terminal; with --link, standard input and output carry the host link and the
// console's output goes to standard error.
//
//   node web/node.mjs --wasm FILE --image FILE [--disk FILE]... [--memory MB] [--append "COMMAND LINE"] [--link]
//
// Without an image, the first disk has the root.
import { writeSync } from "node:fs";
import { Readable, Writable } from "node:stream";
import { parseArgs } from "node:util";
import { Aurora } from "./src/node.js";

const { values: options } = parseArgs({
  options: {
    wasm: { type: "string" },
    image: { type: "string" },
    disk: { type: "string", multiple: true, default: [] },
    memory: { type: "string", default: "256" },
    append: { type: "string", default: "" },
    link: { type: "boolean", default: false },
  },
});
if (!options.wasm || (!options.image && options.disk.length === 0)) {
  console.error("usage: node web/node.mjs --wasm FILE [--image FILE] [--disk FILE]... [--memory MB] [--append LINE] [--link]");
  process.exit(2);
}

/** Says it and ends: a machine that cannot go on has no other way to be heard. */
function fail(message) {
  writeSync(2, `${message}\n`);
  process.exit(125);
}

/** A terminal in front of a stream to write to, and one whose keys are the console's. */
function terminal(output, keys) {
  return {
    rows: output.rows ?? 24,
    cols: output.columns ?? 80,
    write: (bytes, done) => output.write(bytes, done),
    onData: () => ({ dispose() {} }),
    // Keys are bytes already.
    onBinary(listener) {
      const heard = (bytes) => listener(bytes.toString("latin1"));
      keys?.on("data", heard);
      return { dispose: () => keys?.off("data", heard) };
    },
    onResize(listener) {
      const heard = () => listener({ rows: output.rows, cols: output.columns });
      output.on("resize", heard);
      return { dispose: () => output.off("resize", heard) };
    },
  };
}

const common = {
  kernel: options.wasm,
  image: options.image,
  disks: options.disk,
  memory: Number(options.memory),
  rehearse: false,
};

/** The link goes through our own streams: whoever started us speaks it. */
async function carry() {
  const { os, readable, writable } = await Aurora.carry({
    ...common,
    commandLine: options.append,
    terminal: terminal(process.stderr),
  });
  readable.pipeTo(Writable.toWeb(process.stdout)).catch(() => os.terminate());
  // When they have gone, so does the machine.
  Readable.toWeb(process.stdin)
    .pipeTo(writable)
    .catch(() => os.terminate());
  return os;
}

/** The console is ours. */
async function converse() {
  const isTerminal = process.stdin.isTTY;
  const os = await Aurora.boot({
    ...common,
    commandLine: options.append,
    terminal: terminal(process.stdout, process.stdin),
  });
  if (isTerminal) {
    process.stdin.setRawMode(true);
    os.ended.then(() => process.stdin.setRawMode(false));
  }
  return os;
}

const os = await (options.link ? carry() : converse()).catch((error) => fail(error.message));
const { kind, message, place } = await os.ended;
if (kind === "panic") fail(`kernel panic at ${place}: ${message}`);
if (kind === "failed") fail(message);
process.exit(kind === "restart" ? 1 : 0);
