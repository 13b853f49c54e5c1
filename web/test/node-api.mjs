// The installed package in Node.
//
//   node node-api.mjs IMAGE
import * as aurora from "aurora-os";
import { run } from "./api.js";
import { report } from "./report.mjs";

report(await run(aurora, process.argv[2]));
