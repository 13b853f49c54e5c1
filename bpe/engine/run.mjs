// Runs a file of cases on BPE/U in this engine and writes a file of answers; see src/lib.rs for what they look like.
//
//   node run.mjs ENGINE.wasm CASES ANSWERS interpreted|translated|stressed|checked
import { readFileSync, writeFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";

// Node 20 has the relaxed instructions that FMA is translated to, but has to be asked for them.
setFlagsFromString("--experimental-wasm-relaxed-simd");

const [wasm, cases, answers, how] = process.argv.slice(2);
let exports;
let entrance = {};
const bytes = (at, length) => new Uint8Array(exports.memory.buffer, at, length);
// Functions in the table by their numbers.
const slots = new Proxy({}, { get: (_, slot) => exports.__indirect_function_table.get(Number(slot)) });
const host = {
  grow_table: (count) => exports.__indirect_function_table.grow(count),
  install(at, length) {
    try {
      const shared = { m: exports.memory, t: exports.__indirect_function_table };
      const module = new WebAssembly.Module(bytes(at, length));
      const instance = new WebAssembly.Instance(module, { m: shared, e: entrance, s: slots });
      for (const [name, value] of Object.entries(instance.exports)) {
        // What has a number belongs in that slot; what has a name is for the modules after this one.
        if (/^\d+$/.test(name)) shared.t.set(Number(name), value);
        else entrance = instance.exports;
      }
      return 1;
    } catch (error) {
      console.error(String(error));
      process.exitCode = 1;
      return 0;
    }
  },
  validate: (at, length) => Number(WebAssembly.validate(bytes(at, length))),
  clear_slot: (slot) => exports.__indirect_function_table.set(slot, null),
  print_line: (at, length) => console.error(new TextDecoder().decode(bytes(at, length))),
};
({ exports } = (await WebAssembly.instantiate(readFileSync(wasm), { host })).instance);
const input = readFileSync(cases);
const at = exports.allocate(input.length);
bytes(at, input.length).set(input);
const out = exports.run(at, input.length, ["interpreted", "translated", "stressed", "checked"].indexOf(how));
writeFileSync(answers, bytes(out + 4, new DataView(exports.memory.buffer).getUint32(out, true)));
