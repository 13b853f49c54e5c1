// What a person chose, kept in this browser, and the controls it is chosen with.

const KEY = "aurora.settings";
const FONT_SIZES = { least: 8, most: 32 };

const element = (id) => document.getElementById(id);

/** A phone has no keys of its own, and less room. */
const isSmall = matchMedia("(pointer: coarse), (max-width: 560px)").matches;

const defaults = { theme: "system", fontSize: isSmall ? 12 : 15, keys: isSmall, screenReader: false };

function load() {
  try {
    return { ...defaults, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    // Storage that is forbidden or holds something else: then nothing is remembered.
    return { ...defaults };
  }
}

/** Connects the controls; `apply` hears the settings at once and after each change. */
export function connect(apply) {
  const settings = load();
  const change = (changes) => {
    Object.assign(settings, changes);
    try {
      localStorage.setItem(KEY, JSON.stringify(settings));
    } catch {
      // See above.
    }
    show();
  };
  const show = () => {
    if (settings.theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = settings.theme;
    for (const radio of document.getElementsByName("theme")) radio.checked = radio.value === settings.theme;
    element("font-size").value = settings.fontSize;
    element("smaller").disabled = settings.fontSize <= FONT_SIZES.least;
    element("larger").disabled = settings.fontSize >= FONT_SIZES.most;
    element("show-keys").checked = settings.keys;
    element("keys").hidden = !settings.keys;
    element("screen-reader").checked = settings.screenReader;
    apply(settings);
  };
  for (const radio of document.getElementsByName("theme")) radio.onchange = () => change({ theme: radio.value });
  element("smaller").onclick = () => change({ fontSize: settings.fontSize - 1 });
  element("larger").onclick = () => change({ fontSize: settings.fontSize + 1 });
  element("show-keys").onchange = ({ target }) => change({ keys: target.checked });
  element("screen-reader").onchange = ({ target }) => change({ screenReader: target.checked });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
}
