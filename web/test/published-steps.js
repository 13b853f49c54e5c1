// What a machine does with a disk that begins as a published image, the same in a page and in Node.

const text = (stream) => new Response(stream).text();

async function shell(os, script) {
  const program = os.spawn("/bin/sh", ["-c", script]);
  const [out, err] = await Promise.all([text(program.stdout), text(program.stderr)]);
  return out + err;
}

const steps = {
  /** Starts from the network, and keeps something. */
  async first(boot) {
    const os = await boot();
    const said = await shell(os, "sha256sum < /bin/busybox; echo kept > /root/file; sync");
    await os.shutdown();
    return said;
  },

  /** Starts again, without a network. */
  async again(boot) {
    const os = await boot();
    const said = await shell(os, "sha256sum < /bin/busybox; cat /root/file; cat /untouched >/dev/null || echo missing");
    await os.shutdown();
    return said;
  },

  /** Reads what is not what was published, and what is. */
  async damaged(boot) {
    const os = await boot();
    const said = await shell(os, "cat /marked >/dev/null; sha256sum < /bin/busybox");
    await os.shutdown();
    return said;
  },

  /** Believes nobody else. */
  async stranger(boot) {
    const os = await boot();
    os.terminate();
    return "it started";
  },

  /** What is not all here is no ordinary disk. */
  async ordinary(boot) {
    const os = await boot({});
    os.terminate();
    return "it started";
  },
};

/** Does a step; gives what programs said, what was heard of the disk, or why there is no machine. */
export async function run(Aurora, step, { name, url, key, kernel }) {
  const heard = [];
  const onDiskError = (message) => heard.push(message);
  const boot = (from = { base: { url, key } }) => Aurora.boot({ disks: [{ name, ...from }], onDiskError, kernel });
  try {
    return { said: await steps[step](boot), heard };
  } catch (error) {
    return { failed: error.message, heard };
  }
}
