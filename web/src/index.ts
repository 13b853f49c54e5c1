// The package's types, the same for a browser and for Node.

export { Aurora } from "./aurora.js";
export { AuroraError } from "./error.js";
export type { Files } from "./files.js";
export type { Process } from "./process.js";
export type * from "./types.js";
