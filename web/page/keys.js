// The row of keys a phone's keyboard lacks. Ctrl and Alt hold for the next key, whichever keyboard it comes from.

const CURSOR_KEYS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D" };

/** Connects the row to a terminal. Returns what makes of a typed text what the held keys say. */
export function connect(row, terminal) {
  const held = { ctrl: false, alt: false };
  const hold = (modifier, on) => {
    held[modifier] = on;
    row.querySelector(`[data-modifier=${modifier}]`).setAttribute("aria-pressed", on);
  };
  for (const button of row.querySelectorAll("button")) {
    // The terminal keeps the focus, and a phone its keyboard.
    button.onpointerdown = (event) => event.preventDefault();
    button.onclick = () => {
      const { modifier, key } = button.dataset;
      if (modifier) hold(modifier, !held[modifier]);
      else terminal.input(sequence(key, terminal.modes.applicationCursorKeysMode, held));
      terminal.focus();
    };
  }
  return (text) => {
    const { ctrl, alt } = held;
    hold("ctrl", false);
    hold("alt", false);
    const controlled = ctrl && text.length === 1 ? control(text) : text;
    return alt ? `\x1b${controlled}` : controlled;
  };
}

/** What a key sends. A cursor key carries Ctrl and Alt in its sequence, where others are changed by them. */
function sequence(key, isApplication, held) {
  if (key === "Escape") return "\x1b";
  if (key === "Tab") return "\t";
  const modifiers = 1 + (held.alt ? 2 : 0) + (held.ctrl ? 4 : 0);
  held.alt = held.ctrl = false;
  if (modifiers > 1) return `\x1b[1;${modifiers}${CURSOR_KEYS[key]}`;
  return (isApplication ? "\x1bO" : "\x1b[") + CURSOR_KEYS[key];
}

/** Ctrl with a character, as terminals have always made it. */
function control(character) {
  const code = character.toUpperCase().charCodeAt(0);
  if (character === " ") return "\0";
  if (character === "?") return "\x7f";
  return code >= 64 && code < 96 ? String.fromCharCode(code - 64) : character;
}
