// What fails, fails with an AuroraError.

/** An error of the system, with the errno a program would have seen, or of the machine itself, without one. */
export class AuroraError extends Error {
  /**
   * @param {string} message
   * @param {{ name: string, number: number }} [errno]
   */
  constructor(message, errno) {
    super(message);
    this.name = "AuroraError";
    /** `ENOENT` for example; undefined if the machine failed, not a call. */
    this.code = errno?.name;
    /** The number: 2 for ENOENT. */
    this.errno = errno?.number;
  }
}
