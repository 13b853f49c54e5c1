// A Linux program in Node: sorts what it is given, in Debian's busybox.
//
//   node node.mjs image.cpio.gz
import { Aurora } from "aurora-os";

const os = await Aurora.boot({ image: process.argv[2], memory: 64 });

const sort = os.spawn("sort", ["-n"]);
const input = sort.stdin.getWriter();
await input.write("30\n4\n100\n");
await input.close();
console.log(await new Response(sort.stdout).text());
console.log(await sort.exit);

await os.fs.writeFile("/tmp/greeting", "written by Node\n");
const cat = os.spawn("cat", ["/tmp/greeting"]);
console.log(await new Response(cat.stdout).text());

await os.fs.readFile("/no/such/file").catch((error) => console.log(error.code, error.errno, error.message));
await os.shutdown();
