// v86 with Linux, its serial line carried to a WebSocket: what `aurora bench` compares Aurora with.
import { V86 } from "./libv86.mjs";

/** Bytes the serial line collects before they are sent: each is an event of its own. */
const BATCH = 4096;
const NEWLINE = 10;

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
const [errors, serial] = await Promise.all(["console", "link"].map(open));
addEventListener("error", ({ message }) => errors.send(new TextEncoder().encode(`${message}\n`)));
addEventListener("unhandledrejection", ({ reason }) => errors.send(new TextEncoder().encode(`${reason}\n`)));

/** The disk, if there is one: unpacked into memory. */
async function disk() {
  if (!query.has("disk")) return {};
  const { body } = await fetch("disk");
  const buffer = await new Response(body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  return { hda: { buffer } };
}

const machine = new V86({
  ...(await disk()),
  wasm_path: "v86.wasm",
  memory_size: Number(query.get("memory")) << 20,
  vga_memory_size: 2 << 20,
  bios: { url: "bios.bin" },
  vga_bios: { url: "vgabios.bin" },
  bzimage: { url: "kernel" },
  initrd: { url: "image" },
  cmdline: query.get("command-line"),
  net_device: { type: "none" },
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
  autostart: true,
});

let line = [];
machine.add_listener("serial0-output-byte", (byte) => {
  line.push(byte);
  if (byte !== NEWLINE && line.length < BATCH) return;
  serial.send(Uint8Array.from(line));
  line = [];
});
serial.onmessage = ({ data }) => machine.serial_send_bytes(0, new Uint8Array(data));
