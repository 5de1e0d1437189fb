// The key / leads to the box that searches everything (search_box.py), ? to the table of keys (keys.py).
const KEYS = ".st-key-shell_keys button";
const BOX = ".st-key-search_everything input";
const EXPAND = '[data-testid="stExpandSidebarButton"]';
const FOLD = '[data-testid="stSidebarCollapseButton"] button';
const NARROW = "(max-width: 768px)"; // where the menu lies over the page
const INSIDE = 'textarea, input, select, [contenteditable="true"], [role="dialog"]';
const OPENS_MS = 400; // the menu, where it is folded; longer on a busy machine
const LOOKS = 50;

const page = (window.__q2qSearch ??= { listens: false });

export default function () {
  if (page.listens) return;
  page.listens = true;
  window.addEventListener("keydown", lead, true);
}

function lead(event) {
  if (event.key === "Enter" && !event.isComposing && event.target.matches?.(BOX)) leaveMenu();
  if (!["/", "?"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.(INSIDE)) return;
  event.preventDefault();
  event.stopPropagation();
  const fold = document.querySelector(EXPAND);
  fold?.click();
  const [name, act] = event.key === "/" ? [BOX, "focus"] : [KEYS, "click"];
  setTimeout(reach, fold ? OPENS_MS : 0, name, act, LOOKS);
}

// Once it is in view; a menu that opens slides in.
function reach(name, act, left) {
  const found = document.querySelector(name);
  const isInView = found?.checkVisibility() && found.getBoundingClientRect().left >= 0;
  if (isInView) found[act]();
  else if (left) setTimeout(reach, 100, name, act, left - 1);
}

// What was sought is seen, and not the menu over it.
function leaveMenu() {
  if (matchMedia(NARROW).matches) setTimeout(() => document.querySelector(FOLD)?.click(), 0);
}
