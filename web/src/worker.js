// The worker that holds the kernel. It takes its turns between messages, so it is never away from its event loop for
// long; what it says to the page is answered byte for byte before it says more.
import { Machine, Runner } from "./machine.js";

let machine;
let runner;

/** A turn of the event loop without the 4 ms a nested setTimeout takes. */
const channel = new MessageChannel();
let turn;
channel.port1.onmessage = () => turn();
const soon = (callback) => {
  turn = callback;
  channel.port2.postMessage(null);
};

const fail = (message) => postMessage({ type: "failed", message });

const handlers = {
  /** `{wasm, archive, megabytes, commandLine}`, or `{wasm, snapshot}`. */
  async start({ wasm, archive, megabytes, commandLine, snapshot, window }) {
    let panic;
    const print = (line) => ((panic = line), fail(line));
    const [module, bytes] = await Promise.all([
      WebAssembly.compileStreaming(fetch(wasm)),
      snapshot ?? fetch(archive).then((response) => response.arrayBuffer()),
    ]);
    machine = await Machine.load(module, print);
    if (snapshot) machine.restore(snapshot);
    else if (!machine.boot({ megabytes, commandLine, archive: bytes })) return;
    runner = new Runner(machine, {
      window,
      soon: (callback) =>
        soon(() => {
          try {
            callback();
          } catch (error) {
            runner.stop();
            if (panic === undefined) fail(String(error));
          }
        }),
      output: (port, bytes) => postMessage({ type: "output", port, bytes }, [bytes.buffer]),
      ended: (code) => postMessage({ type: "ended", code }),
    });
    postMessage({ type: "started" });
  },
  input: ({ port, bytes }) => runner?.input(port, bytes) || postMessage({ type: "refused", port }),
  acknowledge: ({ port, count }) => runner.acknowledge(port, count),
  snapshot() {
    const memory = machine.snapshot();
    postMessage({ type: "snapshot", memory }, [memory]);
  },
  statistics() {
    const values = { retired: machine.retired, bytes: machine.bytes };
    values.unacknowledged = [0, 1].map((port) => runner.unacknowledged(port));
    values.waiting = [0, 1].map((port) => runner.waiting(port));
    postMessage({ type: "statistics", values });
  },
};

onmessage = ({ data }) =>
  Promise.resolve(handlers[data.type](data)).catch((error) => fail(String(error?.message ?? error)));
