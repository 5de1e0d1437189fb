// Takes the keys of a card, binds each to its axis and card in the order pressed, and sends whole
// judgements. Until the store has confirmed one, it is kept here and in the tab's storage.
const DRAFT_MS = 1200;
const LATE_MS = 1500;
const AGAIN_MS = 3000;
const MOST_SECONDS = 600;
const OVERLAYS = '[role="dialog"],[role="listbox"],[role="menu"],[data-testid="stPopoverBody"]';
const EDITABLE = "input:not([type=checkbox]):not([type=radio]):not([type=button]),textarea,select";

const panels = new WeakMap();
let active = null;
let isTabbed = false;

const isComposing = (event) => event.isComposing || event.keyCode === 229;
const isEditable = (node) => node instanceof Element && (node.matches(EDITABLE) || node.isContentEditable);
const nothing = () => ({ values: {}, tags: [], note: "", tag: "" });
const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

class Panel {
  constructor(root) {
    this.view = new PanelView(root, this);
    this.card = undefined;
    this.draft = nothing();
    this.typed = []; // keys pressed while no card lies there: they are for the next one
    this.pending = []; // events that the store has not confirmed
    this.blocked = false; // the card is closed, the next one is on its way
    this.asked = false;
    this.full = false;
    this.sentAt = -Infinity;
  }

  update(data, emit) {
    this.data = data;
    this.emit = emit;
    if (this.place !== data.store) this.restore(data.store);
    const handled = new Set(data.handled);
    this.pending = this.pending.filter((event) => !handled.has(event.id));
    this.blocked = this.pending.some((event) => event.act !== "draft");
    if (!this.blocked) this.show(data.card, data.entered);
    else if (performance.now() - this.sentAt > AGAIN_MS / 2) this.send();
    this.view.draw();
    this.drain();
    this.keep();
  }

  show(card, entered) {
    if (card === this.card) return;
    const kept = this.kept?.card === card ? this.kept : null;
    const { tags, note, tag } = this.draft; // entered while this card was on its way
    this.card = card;
    this.draft = { ...nothing(), ...(kept ? kept.draft : entered) };
    if (this.wasShown) {
      this.draft.tags = [...new Set([...this.draft.tags, ...tags])];
      this.draft.note ||= note;
      this.draft.tag ||= tag;
    }
    this.wasShown = true;
    this.kept = null;
    this.asked = this.full = false;
    this.before = kept ? kept.seconds : 0;
    this.shownAt = performance.now();
    if (kept) this.keepThere();
    if (card === null) this.typed = this.typed.filter((key) => this.means(key));
  }

  seconds() {
    // A monotonic clock: nobody sets it back.
    const seconds = this.before + (performance.now() - this.shownAt) / 1000;
    return Math.min(MOST_SECONDS, Math.max(0, seconds));
  }

  // What a key stands for on this card; undefined: nothing, and the page may have it.
  means(key) {
    const { way, axes, buttons } = this.data;
    if (key === "U" || key === "Backspace") return () => this.takeBack(key);
    const button = buttons.find((one) => one.key === key);
    if (button && (this.card !== null || button.is_always)) return () => this.go(button);
    if (this.card === null) return undefined;
    if (key === "S") return () => this.close({ act: "skip" });
    if (key === "F") return () => this.close({ act: "flag" });
    if (way === "pair") {
      const place = { ArrowLeft: "left", ArrowRight: "right", T: "tie", B: "both_bad" }[key];
      return place && (() => this.close({ act: "rate", place }));
    }
    if (key === "Y" || key === "N") return () => this.choose("ok", key === "Y" ? 1 : 0);
    if (key === "Enter") return () => this.submit();
    if (axes.length && axes[0].values.includes(Number(key))) return () => this.score(Number(key));
    return undefined;
  }

  takes(key) {
    return key === "C" || key === "G" ? this.card !== null : Boolean(this.means(key));
  }

  press(key) {
    if (key === "G" || key === "C") return this.view.focus(key);
    if (this.blocked) this.typed.push(key);
    else this.means(key)?.();
    this.view.mark();
    this.keep();
  }

  drain() {
    while (this.typed.length && !this.blocked) this.means(this.typed.shift())?.();
    this.view.mark();
  }

  waitingAxis() {
    return this.data.axes.find(({ name }) => this.draft.values[name] === undefined)?.name;
  }

  score(value) {
    const axis = this.waitingAxis();
    this.full = axis === undefined;
    if (axis !== undefined) this.choose(axis, value);
  }

  choose(axis, value) {
    if (this.blocked || this.card === null) return;
    const values = { ...this.draft.values };
    delete values[axis]; // it becomes the one chosen last
    this.full = false;
    this.edit({ values: { ...values, [axis]: value } });
  }

  edit(changed) {
    this.draft = { ...this.draft, ...changed };
    this.view.mark();
    this.keep();
    this.keepThere();
  }

  // The store has what is entered soon after the last key: for another tab, or another day.
  keepThere() {
    clearTimeout(this.draftTimer);
    this.draftTimer = setTimeout(() => this.sendDraft(), DRAFT_MS);
  }

  isEmpty() {
    return !Object.keys(this.draft.values).length && !this.draft.tags.length && !this.draft.tag.trim();
  }

  submit() {
    const isWhole = this.waitingAxis() === undefined;
    if ((isWhole || this.asked) && !this.isEmpty()) this.close({ act: "rate" });
    else this.asked = true;
  }

  takeBack(key) {
    const last = Object.keys(this.draft.values).pop();
    if (key === "U" || last === undefined) return this.close({ act: "undo" });
    const values = { ...this.draft.values };
    delete values[last];
    this.full = false;
    this.edit({ values });
  }

  entered() {
    const { values, tags, note, tag } = this.draft;
    return { values, note, tags: tag.trim() ? [...new Set([...tags, tag.trim()])] : tags };
  }

  close(what) {
    clearTimeout(this.draftTimer);
    this.pending = this.pending.filter((event) => event.act !== "draft");
    // What leads elsewhere leaves the card as it is: what is entered on it is kept first.
    if (what.go && this.card !== null) this.pending.push(this.event({ act: "draft" }));
    this.pending.push(what.go ? { id: newId(), card: this.card, ...what } : this.event(what));
    if (!what.go) this.draft = nothing();
    this.blocked = true;
    this.asked = this.full = false;
    this.closedAt = performance.now();
    if (!what.go) this.card = undefined;
    this.send();
  }

  go({ name, opens_field }) {
    if (opens_field) window.__q2qDrafts?.hold?.();
    this.close({ go: name });
  }

  event(what) {
    return { id: newId(), card: this.card, seconds: this.seconds(), ...this.entered(), ...what };
  }

  sendDraft() {
    if (this.blocked || !this.card) return;
    this.pending = this.pending.filter((event) => event.act !== "draft");
    this.pending.push(this.event({ act: "draft" }));
    this.send();
    this.keep();
  }

  send() {
    if (!this.pending.length) return;
    this.sentAt = performance.now();
    this.emit("events", this.pending);
    clearTimeout(this.lateTimer);
    this.lateTimer = setTimeout(() => this.view.say(), LATE_MS + 50);
    clearTimeout(this.againTimer);
    this.againTimer = setTimeout(() => this.send(), AGAIN_MS);
  }

  status() {
    const { words, axes, card } = this.data;
    const unsent = this.pending.filter((event) => event.act && event.act !== "draft").length + this.typed.length;
    if (this.blocked && performance.now() - this.closedAt > LATE_MS) {
      return words["panel.unsent"].replace("{n}", unsent);
    }
    if (card === null || this.blocked) return "";
    if (this.asked && this.isEmpty()) return words["panel.nothing"];
    const missing = axes.filter(({ name }) => this.draft.values[name] === undefined);
    if (this.asked && missing.length) {
      return words["panel.missing"].replace("{axes}", missing.map(({ label }) => label).join(", "));
    }
    if (this.full) return words["panel.full"];
    return "";
  }

  keep() {
    const pending = this.pending.filter((event) => event.act && event.act !== "draft");
    const kept = { pending, typed: pending.length ? this.typed : [] };
    if (this.card) Object.assign(kept, { card: this.card, draft: this.draft, seconds: this.seconds() });
    try {
      sessionStorage.setItem(`q2q-rate/${this.place}`, JSON.stringify(kept));
    } catch {
      // Without storage a reload forgets what is not sent; everything else works.
    }
  }

  restore(place) {
    this.place = place;
    this.card = undefined;
    this.draft = nothing();
    this.wasShown = false;
    try {
      this.kept = JSON.parse(sessionStorage.getItem(`q2q-rate/${place}`)) ?? {};
    } catch {
      this.kept = {};
    }
    this.pending = this.kept.pending ?? [];
    this.typed = this.kept.typed ?? [];
    this.closedAt = performance.now();
  }

  stop() {
    for (const timer of [this.draftTimer, this.lateTimer, this.againTimer]) clearTimeout(timer);
  }
}

function keyOf(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  return event.shiftKey && /^[A-Z]$/.test(key) ? `Shift+${key}` : key;
}

function onKey(event) {
  if (event.key === "Tab") isTabbed = true;
  if (!active || isComposing(event) || window.__q2qDrafts?.isHolding?.()) return;
  const target = event.composedPath()[0];
  if (isEditable(target) || document.querySelector(OVERLAYS)) return;
  // Who walks the page by Tab presses the button that has the focus.
  const isButton = target instanceof Element && target.closest("button,a,summary,[role=button],[role=radio]");
  const key = keyOf(event);
  if (key === null || (key === "Enter" && isTabbed && isButton) || !active.takes(key)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!event.repeat) active.press(key);
}

window.addEventListener("keydown", onKey, true);
window.addEventListener("pointerdown", () => (isTabbed = false), true);

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".panel");
  let panel = panels.get(root);
  if (!panel) panels.set(root, (panel = new Panel(root)));
  panel.calls = (panel.calls ?? 0) + 1;
  const call = panel.calls;
  active = panel;
  panel.update(data, setTriggerValue);
  return () => {
    if (panel.calls !== call) return; // drawn again since
    panel.stop();
    if (active === panel) active = null;
  };
}
