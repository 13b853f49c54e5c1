// Aurora in Node. Its console is this terminal; with --link, standard input and output carry the host link and the
// console's output goes to standard error.
//
//   node web/node.mjs --wasm FILE --image FILE [--memory MB] [--append "COMMAND LINE"] [--link]
import { readFile } from "node:fs/promises";
import { writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { CONSOLE, LINK, Machine, RESTART, Runner } from "./src/machine.js";

const { values: options } = parseArgs({
  options: {
    wasm: { type: "string" },
    image: { type: "string" },
    memory: { type: "string", default: "256" },
    append: { type: "string", default: "init=/sbin/init" },
    link: { type: "boolean", default: false },
  },
});
if (!options.wasm || !options.image) {
  console.error("usage: node web/node.mjs --wasm FILE --image FILE [--memory MB] [--append LINE] [--link]");
  process.exit(2);
}

/** Says it and ends: a machine that cannot go on has no other way to be heard. */
function fail(message) {
  writeSync(2, `${message}\n`);
  process.exit(125);
}

const [wasm, image] = await Promise.all([readFile(options.wasm), readFile(options.image)]).catch((e) => fail(e.message));
const machine = await Machine.load(await WebAssembly.compile(wasm), (line) => writeSync(2, `${line}\n`));
if (!machine.boot({ megabytes: Number(options.memory), commandLine: options.append, archive: image })) process.exit(125);

const streams = options.link ? [process.stderr, process.stdout] : [process.stdout, null];
const mine = options.link ? LINK : CONSOLE;
const terminal = !options.link && process.stdin.isTTY;

const finish = (code) => {
  if (terminal) process.stdin.setRawMode(false);
  process.exit(code);
};
const runner = new Runner(machine, {
  soon: (callback) =>
    setImmediate(() => {
      try {
        callback();
      } catch (error) {
        fail(error);
      }
    }),
  output(port, bytes) {
    const done = () => runner.acknowledge(port, bytes.length);
    if (streams[port]) streams[port].write(bytes, done);
    else done();
  },
  ended: (code) => finish(code === RESTART ? 1 : 0),
});

if (terminal) process.stdin.setRawMode(true);
process.stdin.on("data", (bytes) => {
  runner.input(mine, bytes);
  // No more is read than the machine takes.
  if (runner.waiting(mine) > 65536) {
    process.stdin.pause();
    const resume = () => (runner.waiting(mine) > 65536 ? setTimeout(resume, 1) : process.stdin.resume());
    resume();
  }
});
// Whoever speaks the link has gone: so does the machine. A console that merely has no input goes on.
process.stdin.on("end", () => options.link && finish(0));
process.stdout.on("error", () => finish(1));
