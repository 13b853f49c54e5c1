// What the package promises, tried where it is loaded: in Node and in a page alike. Each test gets the package and a
// started machine.

/** Fails with what was expected. */
function equal(actual, expected, what = "") {
  const [a, e] = [actual, expected].map((value) => JSON.stringify(value));
  if (a !== e) throw new Error(`${what}: ${a} is not ${e}`);
}

async function fails(promise, code, errno) {
  const error = await promise.then(
    (value) => new Error(`it gave ${JSON.stringify(value)}`),
    (reason) => reason,
  );
  equal([error.name, error.code, error.errno], ["AuroraError", code, errno], error.message);
}

const text = (stream) => new Response(stream).text();

async function shell(os, script, options) {
  const program = os.spawn("/bin/sh", ["-c", script], options);
  return [await text(program.stdout), await text(program.stderr), await program.exit];
}

const exited = (code) => ({ code, signal: null });

export const tests = {
  async streams_and_statuses_are_the_programs({ os }) {
    equal(await shell(os, "echo out; echo err >&2; exit 3"), ["out\n", "err\n", exited(3)]);
    equal((await shell(os, "kill -SEGV $$"))[2], { code: null, signal: "SIGSEGV" });
    const options = { env: { NAME: "a value", HOME: "/tmp" }, cwd: "/usr/bin" };
    equal((await shell(os, 'echo "$NAME $HOME $PWD $USER"', options))[0], "a value /tmp /usr/bin root\n");
  },

  async input_flows_as_the_program_takes_it({ os }) {
    const sum = os.spawn("sha256sum");
    const chunk = new Uint8Array(100_000).fill(97);
    const writer = sum.stdin.getWriter();
    for (let i = 0; i < 10; i++) await writer.write(chunk);
    await writer.close();
    equal((await text(sum.stdout)).slice(0, 16), "cdc76e5c9914fb92");
    const sleeper = os.spawn("sleep", ["1000"]);
    const unread = sleeper.stdin.getWriter();
    let written = 0;
    const filling = (async () => {
      for (;;) {
        await unread.write(chunk);
        written += chunk.length;
      }
    })();
    await shell(os, "true");
    if (written > 300_000) throw new Error(`${written} bytes were taken by nobody`);
    sleeper.kill();
    equal(await sleeper.exit, { code: null, signal: "SIGTERM" });
    await filling.catch((error) => equal(error.code, "EPIPE"));
  },

  async output_nobody_reads_stops_its_program_and_no_other({ os }) {
    const yes = os.spawn("yes");
    equal((await shell(os, "seq 1 20000 | tail -1"))[0], "20000\n");
    await yes.stdout.cancel();
    equal(await yes.exit, { code: null, signal: "SIGPIPE" });
  },

  async a_program_that_cannot_be_started_says_why({ os }) {
    await fails(os.spawn("no-such-program").exit, "ENOENT", 2);
    await fails(os.spawn("/etc/passwd").exit, "EACCES", 13);
    await fails(os.spawn("true", ["x".repeat(100_000)]).exit, "E2BIG", 7);
  },

  async files_are_the_kernels({ os }) {
    await os.fs.mkdir("/tmp/a/b", { recursive: true });
    const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
    await os.fs.writeFile("/tmp/a/b/big", bytes, { mode: 0o600 });
    equal(
      (await shell(os, "stat -c '%a %s' /tmp/a/b/big; sha256sum < /tmp/a/b/big | cut -c-8"))[0],
      "600 300000\n3c65ea93\n",
    );
    const back = await os.fs.readFile("/tmp/a/b/big");
    equal(back.every((byte, i) => byte === bytes[i]) && back.length, bytes.length);
    await os.fs.writeFile("/tmp/a/text", "grün\n");
    await os.fs.writeFile("/tmp/a/text", "und blau\n", { append: true });
    equal(await os.fs.readFile("/tmp/a/text", "utf8"), "grün\nund blau\n");
    await os.fs.writeFile("/tmp/a/old", "moved");
    await os.fs.rename("/tmp/a/old", "/tmp/a/text");
    equal(await os.fs.readFile("/tmp/a/text", "utf8"), "moved");
    await os.fs.chmod("/tmp/a/text", 0o750);
    equal((await os.fs.stat("/tmp/a/text")).mode, 0o750);
    await os.fs.chmod("/tmp/a/text", 0o644);
    await os.fs.writeFile("/tmp/a/text", "grün\nund blau\n");
    await os.fs.symlink("text", "/tmp/a/link");
    await fails(os.fs.symlink("text", "/tmp/a/link"), "EEXIST", 17);
    await fails(os.fs.rename("/tmp/a/none", "/tmp/a/text"), "ENOENT", 2);
    await shell(os, "mkfifo /tmp/a/pipe");
    equal(await os.fs.readdir("/tmp/a"), [
      { name: "b", kind: "directory" },
      { name: "link", kind: "link" },
      { name: "pipe", kind: "fifo" },
      { name: "text", kind: "file" },
    ]);
    const { kind, size, mode, uid } = await os.fs.stat("/tmp/a/link");
    equal([kind, size, mode, uid], ["file", 15, 0o644, 0]);
    equal((await os.fs.stat("/tmp/a/link", { follow: false })).kind, "link");
    const age = Date.now() - (await os.fs.stat("/tmp/a/text")).modified;
    if (age < -1000 || age > 60_000) throw new Error(`modified ${age} ms ago`);
    await os.fs.rm("/tmp/a", { recursive: true });
    await fails(os.fs.stat("/tmp/a"), "ENOENT", 2);
  },

  async a_watch_tells_what_programs_do_to_files({ os }) {
    await os.fs.mkdir("/tmp/watched");
    const watcher = await os.fs.watch("/tmp/watched");
    const script = "cd /tmp/watched; echo a >one; mv one two; mkdir sub; rm two";
    equal((await shell(os, script))[2], exited(0));
    const told = [];
    for await (const { kind, name } of watcher) {
      told.push(`${kind} ${name}`);
      if (kind === "removed" && name === "two") break;
    }
    const expected = ["created one", "changed one", "removed one", "created two", "created sub", "removed two"];
    equal(told, expected);
    const waiting = await os.fs.watch("/tmp/watched/sub");
    const heard = (async () => {
      const all = [];
      for await (const event of waiting) all.push(event);
      return all;
    })();
    await os.fs.rm("/tmp/watched/sub", { recursive: true });
    equal(await heard, []);
    const closed = await os.fs.watch("/tmp/watched");
    const step = closed[Symbol.asyncIterator]().next();
    await closed.close();
    equal((await step).done, true);
    await fails(os.fs.watch("/tmp/none"), "ENOENT", 2);
    await os.fs.rm("/tmp/watched", { recursive: true });
  },

  async files_fail_with_an_errno_and_the_path({ os }) {
    await fails(os.fs.readFile("/none"), "ENOENT", 2);
    await fails(os.fs.readFile("/etc"), "EISDIR", 21);
    await fails(os.fs.readdir("/etc/passwd"), "ENOTDIR", 20);
    await fails(os.fs.mkdir("/etc"), "EEXIST", 17);
    await fails(os.fs.rm("/etc"), "EISDIR", 21);
    await os.fs.rm("/none", { force: true });
    const { message } = await os.fs.readFile("/none").catch((error) => error);
    equal(message, "ENOENT: no such file or directory: /none");
  },

  async a_program_with_a_terminal_knows_its_size_and_hears_of_changes({ os }) {
    const script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done";
    const program = os.spawn("/bin/sh", ["-c", script], { tty: { rows: 10, cols: 40 } });
    let seen = "";
    for await (const part of program.stdout.pipeThrough(new TextDecoderStream())) {
      if (!seen.includes("ready") && (seen + part).includes("ready")) program.resize(20, 50);
      seen += part;
    }
    equal(seen, "10 40\r\nready\r\n20 50\r\n");
    const reader = os.spawn("cat", [], { tty: true });
    const keys = reader.stdin.getWriter();
    await keys.write("typed\n");
    await keys.write("\x04");
    equal(await text(reader.stdout), "typed\r\ntyped\r\n");
    equal(await reader.exit, exited(0));
  },

  async a_snapshot_goes_on_where_it_was_made({ os, Aurora }) {
    const counter = os.spawn("/bin/sh", ["-c", "echo first; read line; echo then $line"]);
    const reader = counter.stdout.getReader();
    equal(new TextDecoder().decode((await reader.read()).value), "first\n");
    await os.fs.writeFile("/tmp/kept", "kept\n");
    const snapshot = await os.snapshot();
    await os.fs.rm("/tmp/kept");
    if (snapshot.length > 100 << 20) throw new Error(`a snapshot of ${snapshot.length} bytes`);
    for (const word of ["one", "two"]) {
      const again = await Aurora.restore(snapshot);
      equal(await again.fs.readFile("/tmp/kept", "utf8"), "kept\n");
      const [process] = again.processes;
      const writer = process.stdin.getWriter();
      await writer.write(`${word}\n`);
      equal([await text(process.stdout), await process.exit], [`then ${word}\n`, exited(0)]);
      await again.shutdown();
    }
    counter.kill("SIGKILL");
    await fails(Aurora.restore(snapshot.slice(0, 100)), undefined, undefined);
    const other = snapshot.slice();
    other[20] ^= 1;
    await fails(Aurora.restore(other), undefined, undefined);
  },

  async disks_are_the_programs_and_are_named_when_they_are_missing({ Aurora, image }) {
    const contents = new Uint8Array(1 << 20);
    contents.set(new TextEncoder().encode("from outside"), 4096);
    const disks = [{ name: "one", store: "memory", image: contents }, { name: "two", store: "memory", size: 8 << 20 }];
    const os = await Aurora.boot({ image, memory: 64, disks });
    equal(
      os.disks.map(({ size, store, readOnly }) => [size, store, readOnly]),
      [
        [1 << 20, "memory", false],
        [8 << 20, "memory", false],
      ],
    );
    const script = `dd if=/dev/vda of=/dev/vdb bs=4096 skip=1 seek=100 count=1 conv=notrunc,fsync 2>/dev/null
      dd if=/dev/vdb bs=4096 skip=100 count=1 2>/dev/null | head -c 12; wc -c < /dev/vdb`;
    equal((await shell(os, script))[0], "from outside8388608\n");
    await os.sync();
    await fails(os.snapshot(), undefined, undefined);
    await os.shutdown();
    await fails(Aurora.boot({ image, disks: ["no-such-disk"] }), "ENOENT", 2);
  },

  async a_machine_that_cannot_start_says_why({ Aurora }) {
    await fails(Aurora.boot({ image: new Uint8Array([1, 2, 3]) }), undefined, undefined);
    await fails(Aurora.boot({ image: "no-such-image" }), undefined, undefined);
  },

  async a_machine_at_rest_rehearses_and_is_none_the_worse({ Aurora, image }) {
    const os = await Aurora.boot({ image, memory: 64 });
    // Node's ports leave others hardly a turn while they are busy.
    while (!(await os.statistics()).rehearsed) await new Promise((resolve) => setTimeout(resolve, 20));
    equal(await shell(os, "echo $$; ls /rehearsal"), ["2\n", "ls: /rehearsal: No such file or directory\n", exited(1)]);
    os.terminate();
  },

  async the_console_is_logged_and_shown_on_a_terminal({ Aurora, image }) {
    const lines = [];
    let shown = "";
    const terminal = {
      rows: 33,
      cols: 99,
      write: (bytes, done) => {
        shown += new TextDecoder().decode(bytes);
        done();
      },
      onData: (listener) => {
        terminal.key = listener;
        return { dispose() {} };
      },
    };
    const os = await Aurora.boot({ image, memory: 64, init: "/bin/sh", terminal, onLog: (line) => lines.push(line) });
    while (!shown.includes("/ # ")) await os.statistics();
    terminal.key("stty size; poweroff -f\r");
    equal((await os.ended).kind, "off");
    if (!/\[ +\d+\.\d+\] Aurora/.test(lines[0])) throw new Error(lines[0]);
    equal(shown.includes("\n33 99\r\n"), true, shown);
    await fails(os.fs.readFile("/etc/passwd"), undefined, undefined);
    await fails(os.spawn("true").exit, undefined, undefined);
  },
};

/** A test that hangs is named, too. */
const LIMIT_MS = 30_000;

const late = () => new Promise((_, reject) => setTimeout(() => reject(new Error("it does not end")), LIMIT_MS));

/** Runs all tests on one machine; returns what went wrong and how long each took. */
export async function run({ Aurora }, image) {
  const os = await Aurora.boot({ image, memory: 64 });
  const results = [];
  for (const [name, test] of Object.entries(tests)) {
    const start = performance.now();
    const failure = await Promise.race([test({ os, Aurora, image }), late()]).then(
      () => undefined,
      (error) => String(error.stack ?? error),
    );
    results.push({ name, failure, ms: Math.round(performance.now() - start) });
  }
  os.terminate();
  return results;
}
