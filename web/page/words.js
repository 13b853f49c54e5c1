// Short words with a person: a question before something is lost, a note that something failed.

const element = (id) => document.getElementById(id);

/** Asks; whether the answer is `yes`. */
export function confirm(question, yes) {
  const dialog = element("confirm");
  dialog.querySelector("p").textContent = question;
  dialog.querySelector(".primary").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Says something for a while. */
export function tell(text) {
  const note = element("note");
  note.textContent = text;
  note.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => (note.hidden = true), 8000);
}

export const gigabytes = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`);
