// Keeps forms in the browser: see drafts.py. Texts are stored and compared, never put into the page.
const STORE = "q2q.drafts";
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;
const MAX_CHARACTERS = 2_000_000;
const SETTLED_MS = 500; // after which the page shows what the program sent
const FIELD = /(?:^|\s)st-key-draft--(.+?)--([A-Za-z0-9_]+)(?:\s|$)/;
const TEXTS = 'textarea, input[type="text"], input[type="search"], input[type="number"], input:not([type])';
const LISTS = '[role="listbox"], [role="menu"], #portal .gdg-clip-region, #portal [class*="gdg-"]';
const DIALOGS = '[role="dialog"], [data-testid="stPopoverBody"]';

// One for the page, however often the component is drawn anew.
const page = (window.__q2qDrafts ??= { visit: null, forgotten: {}, listens: false });

export default function ({ data, setTriggerValue }) {
  page.send = (values) => setTriggerValue("restored", values);
  const store = read();
  if (page.visit !== data.visit) {
    page.visit = data.visit;
    page.forgotten = {};
    const found = {};
    for (const [form, one] of Object.entries(store)) {
      found[form] = one.values = { ...one.values, ...one.typed };
      one.typed = {};
    }
    if (Object.keys(found).length) page.send(found);
  }
  for (const [form, n] of Object.entries(data.forgotten)) {
    if ((page.forgotten[form] ?? 0) < n) delete store[form];
    page.forgotten[form] = n;
  }
  for (const [form, values] of Object.entries(data.drafts)) {
    const typed = store[form]?.typed ?? {};
    for (const [name, value] of Object.entries(values)) {
      if (String(value) === typed[name]) delete typed[name];
    }
    store[form] = { at: Date.now(), values, typed };
  }
  // A form that is back at what it begins with has nothing to keep.
  for (const form of page.drafts ?? []) {
    if (!(form in data.drafts) && store[form]) store[form].values = {};
  }
  page.drafts = Object.keys(data.drafts);
  write(store);
  for (const [name, value] of Object.entries(data.cookies)) {
    if (value) document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; SameSite=Strict`;
  }
  complete(data.address);
  giveBack(store);
  setTimeout(prune, SETTLED_MS);
  if (!page.listens) {
    page.listens = true;
    document.addEventListener("input", typed, true);
    window.addEventListener("keydown", escape, true);
  }
}

// A copied address says what its page was shown in. Going back must not stop at an address without.
function complete(address) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(address)) url.searchParams.set(name, value);
  if (url.href !== location.href) history.replaceState(history.state, "", url);
}

// What was typed into a field that is gone, and never reached the server, goes there now.
function giveBack(store) {
  const left = {};
  for (const [form, one] of Object.entries(store)) {
    for (const [name, value] of Object.entries(one.typed)) {
      if (!fieldOf(form, name)) (left[form] ??= {})[name] = value;
    }
  }
  if (!Object.keys(left).length) return;
  for (const [form, values] of Object.entries(left)) {
    Object.assign(store[form].values, values);
    for (const name of Object.keys(values)) delete store[form].typed[name];
  }
  write(store);
  page.send(left);
}

// A field that the program filled or emptied since holds no draft any more.
function prune() {
  const store = read();
  for (const [form, one] of Object.entries(store)) {
    for (const [name, value] of Object.entries(one.typed)) {
      const field = fieldOf(form, name);
      if (field && field !== focused() && field.value !== value) delete one.typed[name];
    }
  }
  write(store);
}

function fieldOf(form, name) {
  return document.querySelector(`.st-key-draft--${form}--${name} :is(textarea, input)`);
}

function typed(event) {
  const field = event.target;
  if (!field.matches?.(TEXTS) || field.getAttribute("role") === "combobox") return;
  const found = FIELD.exec(field.closest('[class*="st-key-draft--"]')?.className ?? "");
  if (!found) return;
  const store = read();
  const one = (store[found[1]] ??= { at: 0, values: {}, typed: {} });
  one.at = Date.now();
  one.typed[found[2]] = field.value;
  write(store);
}

// Esc leaves a field or closes what is open; only then does it leave the page, by its own button.
function escape(event) {
  if (event.key !== "Escape" || event.isComposing) return;
  if (isShown(LISTS)) return; // closes by itself
  const field = focused();
  if (field?.matches("textarea, input, select") || field?.isContentEditable) {
    const dialog = field.closest('[role="dialog"]');
    if (dialog) dialog.focus(); // which hears the next Esc
    else field.blur();
    event.stopImmediatePropagation();
    event.preventDefault();
  } else if (!isShown(DIALOGS)) {
    document.querySelector(".st-key-back_link button")?.click();
  }
}

function focused() {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element;
}

function isShown(selector) {
  return [...document.querySelectorAll(selector)].some((one) => one.checkVisibility());
}

function read() {
  try {
    const store = JSON.parse(localStorage.getItem(STORE) ?? "{}");
    const young = Object.entries(store).filter(([, one]) => Date.now() - one.at < MAX_AGE_MS);
    return Object.fromEntries(young);
  } catch {
    return {};
  }
}

function write(store) {
  const full = JSON.stringify(store);
  try {
    if (full.length < MAX_CHARACTERS) localStorage.setItem(STORE, full);
  } catch {
    // A full or forbidden store: the visit keeps its drafts all the same.
  }
}
