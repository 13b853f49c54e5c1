// A page without a terminal: carries a system's two byte streams to the WebSockets it was told of. `aurora run --machine
// browser` opens it.
import { System } from "./system.js";

/** Bytes the network may hold before the machine has to wait. */
const MAX_BUFFERED = 1 << 18;

const query = new URLSearchParams(location.search);
const names = ["console", "link"];
const sockets = await Promise.all(
  names.map((name) => {
    const socket = new WebSocket(new URL(`stream/${name}`, query.get("stream")));
    socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve(socket);
      socket.onerror = () => reject(new Error(`no ${name}`));
    });
  }),
);

const close = () => sockets.forEach((socket) => socket.close());

/** Answers for output once the socket has passed it on. */
function acknowledge(port, count) {
  if (sockets[port].bufferedAmount > MAX_BUFFERED) setTimeout(() => acknowledge(port, count), 2);
  else system.acknowledge(port, count);
}

const system = new System(
  {
    archive: new URL("./image", location.href).href,
    megabytes: Number(query.get("memory")),
    commandLine: query.get("command-line"),
  },
  {
    output(port, bytes) {
      sockets[port].send(bytes);
      acknowledge(port, bytes.length);
    },
    ended: close,
    failed(message) {
      sockets[0].send(new TextEncoder().encode(`${message}\n`));
      close();
    },
    refused: close,
  },
);
sockets.forEach((socket, port) => {
  socket.onmessage = ({ data }) => system.input(port, new Uint8Array(data));
});
