// What components share that take keys. What they tell the page is kept, and told again, until the page
// has said that it is handled (events.py). Words are set as text, never as HTML.
const SHOWN = { ArrowLeft: "←", ArrowRight: "→" };

const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const isComposing = (event) => event.isComposing || event.keyCode === 229;

// The key as the table of keys calls it (keys.py); null where a modifier makes it the browser's.
function keyOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  return event.shiftKey && /^[A-Z]$/.test(key) ? `Shift+${key}` : key;
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node[name] = value;
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

class Outbox {
  constructor(againMs) {
    this.againMs = againMs;
    this.events = [];
    this.sentAt = -Infinity;
  }

  settle(handled, emit) {
    this.emit = emit;
    this.events = this.events.filter(({ id }) => !handled.includes(id));
  }

  drop(...acts) {
    this.events = this.events.filter(({ act }) => !acts.includes(act));
  }

  add(event) {
    this.events.push({ id: newId(), ...event });
  }

  send() {
    clearTimeout(this.timer);
    if (!this.events.length) return;
    this.sentAt = performance.now();
    this.emit("events", this.events);
    this.timer = setTimeout(() => this.send(), this.againMs);
  }

  sendLate() {
    if (performance.now() - this.sentAt > this.againMs / 2) this.send();
  }
}

// Draws what `Shown` shows in its root, and stops it once it is drawn no more.
function draw(all, Shown, selector, { data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(selector);
  if (!all.has(root)) all.set(root, new Shown(root));
  const shown = all.get(root);
  const call = (shown.calls = (shown.calls ?? 0) + 1);
  shown.update(data, setTriggerValue);
  return () => shown.calls === call && shown.stop(); // else drawn again since
}
