// Runs a file of cases on BPE/U in this engine and writes a file of answers; see src/lib.rs for what they look like.
//
//   node run.mjs ENGINE.wasm CASES ANSWERS [interpreted]
import { readFileSync, writeFileSync } from "node:fs";

const [wasm, cases, answers, how] = process.argv.slice(2);
let exports;
const bytes = (at, length) => new Uint8Array(exports.memory.buffer, at, length);
const host = {
  grow_table: (count) => exports.__indirect_function_table.grow(count),
  install(at, length) {
    try {
      const shared = { m: exports.memory, t: exports.__indirect_function_table };
      new WebAssembly.Instance(new WebAssembly.Module(bytes(at, length)), { m: shared });
      return 1;
    } catch (error) {
      console.error(String(error));
      process.exitCode = 1;
      return 0;
    }
  },
  clear_slot: (slot) => exports.__indirect_function_table.set(slot, null),
  print_line: (at, length) => console.error(new TextDecoder().decode(bytes(at, length))),
};
({ exports } = (await WebAssembly.instantiate(readFileSync(wasm), { host })).instance);
const input = readFileSync(cases);
const at = exports.allocate(input.length);
bytes(at, input.length).set(input);
const out = exports.run(at, input.length, how === "interpreted" ? 0 : 1);
writeFileSync(answers, bytes(out + 4, new DataView(exports.memory.buffer).getUint32(out, true)));
