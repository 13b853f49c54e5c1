// The terminal: xterm.js in the colours and the size that were chosen, with copy and paste.
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";

const PALETTES = {
  dark: {
    background: "#0d1323",
    foreground: "#dfe6f5",
    cursor: "#2dd4a7",
    cursorAccent: "#0d1323",
    selectionBackground: "#2b3d6b",
    black: "#1b2440",
    red: "#ff7b7b",
    green: "#5fd38d",
    yellow: "#ffc46b",
    blue: "#7c9cff",
    magenta: "#d79bff",
    cyan: "#4fd6e0",
    white: "#c8d1e6",
    brightBlack: "#6c7a9c",
    brightRed: "#ff9d9d",
    brightGreen: "#8be6ae",
    brightYellow: "#ffd897",
    brightBlue: "#a3b9ff",
    brightMagenta: "#e5bcff",
    brightCyan: "#86e6ed",
    brightWhite: "#ffffff",
  },
  light: {
    background: "#ffffff",
    foreground: "#1a2133",
    cursor: "#087f60",
    cursorAccent: "#ffffff",
    selectionBackground: "#c9dcff",
    black: "#1a2133",
    red: "#c02626",
    green: "#0a7a3c",
    yellow: "#8a5a00",
    blue: "#2450c8",
    magenta: "#8a2fb8",
    cyan: "#00707c",
    white: "#6b7690",
    brightBlack: "#566079",
    brightRed: "#d64545",
    brightGreen: "#12924c",
    brightYellow: "#a46c00",
    brightBlue: "#3c66e0",
    brightMagenta: "#a14bd0",
    brightCyan: "#008693",
    brightWhite: "#2b3448",
  },
};

/** Makes the terminal in `box`. */
export function create(box) {
  const terminal = new Terminal({
    fontFamily: getComputedStyle(box).getPropertyValue("--mono"),
    lineHeight: 1.15,
    scrollback: 5000,
    minimumContrastRatio: 4.5,
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(box);
  new ResizeObserver(() => fit.fit()).observe(box);
  terminal.attachCustomKeyEventHandler((event) => !shortcut(terminal, event));
  return { terminal, apply: (settings) => apply(terminal, fit, settings) };
}

function apply(terminal, fit, { theme, fontSize, screenReader }) {
  const isDark = theme === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
  terminal.options.theme = isDark ? PALETTES.dark : PALETTES.light;
  terminal.options.fontSize = fontSize;
  terminal.options.screenReaderMode = screenReader;
  fit.fit();
}

/**
 * ^C is a signal here, so the clipboard is on the keys other terminals have it on. Pasting by key is left to the browser:
 * it asks for no permission, and what is typed after it comes after it.
 */
function shortcut(terminal, event) {
  if (!event.ctrlKey || !event.shiftKey) return false;
  if (event.code === "KeyC" && event.type === "keydown") {
    event.preventDefault();
    copy(terminal);
  }
  return event.code === "KeyC" || event.code === "KeyV";
}

/** What is selected, or the whole screen. */
export async function copy(terminal) {
  const selected = terminal.getSelection();
  if (!selected) terminal.selectAll();
  await navigator.clipboard.writeText(selected || terminal.getSelection().trimEnd());
  terminal.clearSelection();
}

export async function paste(terminal) {
  terminal.paste(await navigator.clipboard.readText());
  terminal.focus();
}
