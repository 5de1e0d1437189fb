// Keeps forms in the browser: see drafts.py. Texts are stored and compared, never put into the page.
const STORE = "q2q.drafts";
const MAX_AGE_MS = 30 * 24 * 3600 * 1000;
const MAX_CHARACTERS = 2_000_000;
const SETTLED_MS = 500; // after which the page shows what the program sent
const AGAIN_MS = 3000;
const HOLD_MS = 3000;
const FIELD = /(?:^|\s)st-key-draft--(.+?)--([A-Za-z0-9_]+)(?:\s|$)/;
const TEXTS = 'textarea, input[type="text"], input[type="search"], input[type="number"], input:not([type])';
const LISTS = '[role="listbox"], [role="menu"], #portal .gdg-clip-region, #portal [class*="gdg-"]';
const BOXES = '[role="dialog"], [data-testid="stPopoverBody"], [data-open-box]';
const WAYS_BACK = ["panel_cancel", "back_to_turn", "back_link"]; // the nearest first
const RESERVED = ["c", "r"]; // by Streamlit, which gives them to no button
const INSIDE = 'textarea, input, select, [data-testid="stDataFrame"] canvas';

// One for the page, however often the component is drawn anew. Of this visit: `known` is what the
// program holds of each form, as JSON; `own`, the forms changed in this tab; `sent`, what the
// program was told and has not confirmed. `held` is what was typed for a field that is on its way.
const page = (window.__q2qDrafts ??= { visit: null, listens: false, held: null });

export default function ({ data, setTriggerValue }) {
  page.emit = (message) => setTriggerValue("restored", message);
  if (page.visit !== data.visit) begin(data);
  if (data.taken >= page.n) page.sent = {};
  else if (Date.now() - page.sentAt > AGAIN_MS) send({});
  const store = read();
  for (const [form, n] of Object.entries(data.forgotten)) {
    if ((page.forgotten[form] ?? 0) < n) forget(store, form);
    page.forgotten[form] = n;
  }
  // A form that is back at what it begins with has nothing to keep.
  for (const form of new Set([...Object.keys(data.drafts), ...Object.keys(page.known)])) {
    if (!(form in page.sent)) take(store, form, data.drafts[form] ?? {});
  }
  write(store);
  for (const [name, value] of Object.entries(data.cookies)) {
    if (page.cookies[name] === value) continue; // another tab may have set it since
    page.cookies[name] = value;
    document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; SameSite=Strict`;
  }
  complete(data.address);
  paint(data);
  giveBack(store);
  setTimeout(prune, SETTLED_MS);
  if (!page.listens) {
    page.listens = true;
    document.addEventListener("input", typed, true);
    document.addEventListener("visibilitychange", comeBack);
    window.addEventListener("keydown", escape, true);
    page.hold = hold;
    page.isHolding = isHolding;
    window.addEventListener("keydown", typeAhead, true);
    document.addEventListener("focusin", release, true);
  }
}

// A theme that was chosen, now or in an earlier visit, holds for all pages: each takes its own when
// it is loaded.
function paint({ theme: [n, name], pages, place }) {
  if (!name || n === page.painted) return;
  page.painted = n;
  const keyOf = (path) => `stActiveTheme-${path}-v2`;
  const base = location.pathname.slice(0, location.pathname.lastIndexOf(place[0]));
  const wanted = JSON.stringify(name);
  try {
    if (localStorage.getItem(keyOf(location.pathname)) === wanted) return;
    for (const one of pages) localStorage.setItem(keyOf(base + one), wanted);
    if (localStorage.getItem(keyOf(location.pathname)) === wanted) location.reload();
  } catch {
    // A full or forbidden store: the theme of the system holds.
  }
}

// A visit begins with what earlier ones left.
function begin(data) {
  Object.assign(page, { visit: data.visit, store: data.store, n: 0, painted: null, cookies: {}, sent: {}, forgotten: {}, known: {}, own: new Set() });
  const store = read();
  const found = {};
  for (const [form, one] of ofThisStore(store)) {
    found[form] = one.values = { ...one.values, ...one.typed };
    one.typed = {};
  }
  write(store);
  send(found);
}

// Tells the program what its forms hold, until it has confirmed.
function send(forms) {
  Object.assign(page.sent, forms);
  if (!Object.keys(page.sent).length) return;
  for (const [form, values] of Object.entries(forms)) page.known[form] = JSON.stringify(values);
  page.n += 1;
  page.sentAt = Date.now();
  page.emit({ n: page.n, forms: page.sent });
}

// What the program holds is kept where it has changed: another tab may have kept something newer.
function take(store, form, values) {
  const entry = (store[key(form)] ??= { values: {}, typed: {} });
  for (const [name, value] of Object.entries(values)) {
    if (String(value) === entry.typed[name]) delete entry.typed[name];
  }
  const now = JSON.stringify(values);
  if ((page.known[form] ?? "{}") === now) return;
  page.known[form] = now;
  page.own.add(form);
  Object.assign(entry, { at: Date.now(), by: page.visit, values });
}

// What another tab has written since it was changed here stays.
function forget(store, form) {
  const entry = store[key(form)];
  if (entry?.by === page.visit || !page.own.has(form)) delete store[key(form)];
  delete page.known[form];
  page.own.delete(form);
}

// The tab is looked at again: it takes what others wrote, and keeps anew what only it has.
function comeBack() {
  if (document.visibilityState !== "visible" || !page.visit || isShown(BOXES)) return;
  const store = read();
  const stored = Object.fromEntries(ofThisStore(store));
  const found = {};
  for (const form of new Set([...Object.keys(stored), ...Object.keys(page.known)])) {
    const values = stored[form]?.values ?? {};
    const known = page.known[form] ?? "{}";
    if (JSON.stringify(values) === known) continue;
    if (!page.own.has(form)) found[form] = values;
    else if (!stored[form]) store[key(form)] = { at: Date.now(), by: page.visit, values: JSON.parse(known), typed: {} };
  }
  write(store);
  send(found);
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
  for (const [form, one] of ofThisStore(store)) {
    const names = one.by === page.visit ? Object.keys(one.typed).filter((name) => !fieldOf(form, name)) : [];
    if (!names.length) continue;
    left[form] = one.values;
    for (const name of names) {
      one.values[name] = one.typed[name];
      delete one.typed[name];
    }
  }
  write(store);
  send(left);
}

// A field that the program filled or emptied since holds no draft any more.
function prune() {
  const store = read();
  for (const [form, one] of ofThisStore(store)) {
    if (one.by !== page.visit) continue; // another tab's field
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
  if (!found || !page.visit) return;
  const store = read();
  const one = (store[key(found[1])] ??= { values: {}, typed: {} });
  one.at = Date.now();
  one.by = page.visit;
  one.typed[found[2]] = field.value;
  write(store);
}

// Esc leaves a field or closes what is open; only then does it leave the page, by its own button.
function escape(event) {
  if (event.key !== "Escape" || event.isComposing || event.keyCode === 229) return;
  if (isShown(LISTS)) return; // closes by itself
  const field = focused();
  if (field?.matches(INSIDE) || field?.isContentEditable) {
    const box = field.closest(BOXES);
    if (box) {
      box.tabIndex = -1;
      box.focus(); // which hears the next Esc
    } else field.blur();
    event.stopImmediatePropagation();
    event.preventDefault();
  } else if (!isShown(BOXES)) {
    WAYS_BACK.map((one) => document.querySelector(`.st-key-${one} button`)).find(Boolean)?.click();
  }
}

// A key that leads into a field is followed by letters for it, before it is there: they wait for
// it, and are never taken for keys of the page.
function hold() {
  page.held = "";
  page.heldUntil = Date.now() + HOLD_MS;
}

function isHolding() {
  return page.held !== null && Date.now() < page.heldUntil;
}

function typeAhead(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.keyCode === 229) return;
  if (focused()?.matches(INSIDE)) return;
  if (!isHolding()) {
    const button = isShown(BOXES) ? null : opener(event);
    if (!button) return;
    hold();
    if (!RESERVED.includes(event.key.toLowerCase())) return; // Streamlit presses it
    button.click();
    event.stopImmediatePropagation();
    event.preventDefault();
    return;
  }
  if (event.key === "Escape") page.held = null;
  if (event.key === "Enter") page.held += "\n";
  else if (event.key === "Backspace") page.held = page.held.slice(0, -1);
  else if (event.key.length === 1) page.held += event.key;
  else return;
  event.stopImmediatePropagation();
  event.preventDefault();
}

// The button whose key leads into a field, where that is the key.
function opener({ key, shiftKey }) {
  if (!/^[a-z0-9]$/i.test(key)) return null;
  const named = `${shiftKey ? "shift-" : ""}${key.toLowerCase()}`;
  return document.querySelector(`[class*="st-key-opens-${named}-"] button:not(:disabled)`);
}

function release(event) {
  if (!isHolding() || !event.target.matches(TEXTS)) return;
  const text = page.held;
  page.held = null;
  // Once the cursor stands where the page puts it.
  queueMicrotask(() => text && document.execCommand("insertText", false, text));
}

function focused() {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element;
}

function isShown(selector) {
  return [...document.querySelectorAll(selector)].some((one) => one.checkVisibility());
}

// One address may serve one store after another: each has drafts of its own.
function key(form) {
  return `${page.store}/${form}`;
}

function ofThisStore(store) {
  const ours = Object.keys(store).filter((one) => one.startsWith(key("")));
  return ours.map((one) => [one.slice(key("").length), store[one]]);
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
  const held = Object.entries(store).filter(([, one]) => Object.keys({ ...one.values, ...one.typed }).length);
  held.sort(([, a], [, b]) => b.at - a.at);
  let full = JSON.stringify(Object.fromEntries(held));
  while (full.length > MAX_CHARACTERS && held.length > 1) {
    held.pop(); // the oldest
    full = JSON.stringify(Object.fromEntries(held));
  }
  try {
    localStorage.setItem(STORE, full);
  } catch {
    // A full or forbidden store: the visit keeps its drafts all the same.
  }
}
