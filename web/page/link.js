// A page without a terminal: carries a system's two byte streams to the WebSockets it was told of. `aurora run
// --machine browser` opens it.
import { Aurora } from "aurora-os";

/** Bytes the network may hold before the machine has to wait. */
const MAX_BUFFERED = 1 << 18;

const query = new URLSearchParams(location.search);

/** Opens the socket of a stream. */
function open(name) {
  const socket = new WebSocket(new URL(`stream/${name}`, query.get("stream")));
  socket.binaryType = "arraybuffer";
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error(`no ${name}`));
  });
}
const [consoleSocket, linkSocket] = await Promise.all(["console", "link"].map(open));

/** Done once the socket has passed on most of what it was given. */
async function drained(socket) {
  while (socket.bufferedAmount > MAX_BUFFERED) await new Promise((resolve) => setTimeout(resolve, 2));
}

const terminal = {
  rows: 24,
  cols: 80,
  write(bytes, done) {
    consoleSocket.send(bytes);
    drained(consoleSocket).then(done);
  },
  onData: () => ({ dispose() {} }),
};

/** @param {string} kind */
const numbered = (kind, make) => Array.from({ length: Number(query.get(kind)) }, (_, number) => make(number));
/** Images of the host's, which stay there, and those this origin gets a copy of. */
const disks = [
  ...numbered("disks", (number) => ({ name: new URL(`disk/${number}`, location.href).href, store: "server" })),
  ...numbered("copies", (number) => ({ name: `copy ${number}`, image: `copy/${number}`, replace: true })),
];

try {
  const { os, readable, writable } = await Aurora.carry({
    image: "image",
    disks,
    memory: Number(query.get("memory")),
    commandLine: query.get("command-line"),
    rehearse: query.has("rehearse"),
    terminal,
  });
  const writer = writable.getWriter();
  linkSocket.onmessage = ({ data }) => writer.write(new Uint8Array(data)).catch(() => {});
  const toSocket = new WritableStream({
    write(bytes) {
      linkSocket.send(bytes);
      return drained(linkSocket);
    },
  });
  readable.pipeTo(toSocket).catch(() => os.terminate());
  const { kind, message, place } = await os.ended;
  if (kind === "panic") throw new Error(`kernel panic at ${place}: ${message}`);
  if (kind === "failed") throw new Error(message);
} catch (error) {
  consoleSocket.send(new TextEncoder().encode(`${error.message}\n`));
} finally {
  for (const socket of [consoleSocket, linkSocket]) socket.close();
}
