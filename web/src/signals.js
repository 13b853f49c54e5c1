// Names of signals, signal(7).

const NAMES = (
  "SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM " +
  "SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF " +
  "SIGWINCH SIGIO SIGPWR SIGSYS"
).split(" ");

/**
 * The number of a signal given by name or number.
 * @param {string | number} signal
 */
export function signalNumber(signal) {
  const number = typeof signal === "number" ? signal : NAMES.indexOf(signal) + 1;
  if (!Number.isInteger(number) || number < 1 || number > 64) throw new TypeError(`${signal} is no signal`);
  return number;
}

/**
 * The name of a signal; real-time ones count from SIGRTMIN.
 * @param {number} number
 */
export const signalName = (number) => NAMES[number - 1] ?? `SIGRTMIN+${number - 32}`;
