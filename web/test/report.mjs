// What came of the API's tests.

/** Prints each and sets the exit status. */
export function report(results) {
  for (const { name, failure, ms } of results)
    console.log(`${failure ? "FAIL" : "ok"} ${name} (${ms} ms) ${failure ?? ""}`);
  if (results.length === 0 || results.some(({ failure }) => failure)) process.exitCode = 1;
}
