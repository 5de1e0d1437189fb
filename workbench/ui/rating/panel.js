// Takes the keys of a card, binds each to its axis and card in the order pressed, and sends whole
// judgements. Until the store has confirmed one, it is kept here and in the tab's storage.
const DRAFT_MS = 1200;
const LATE_MS = 1500;
const AGAIN_MS = 3000;
const MOST_SECONDS = 600;
const OVERLAYS = '[role="dialog"],[role="listbox"],[role="menu"],[data-testid="stPopoverBody"]';
const PLACES = ["left", "right", "tie", "both_bad"];
const EDITABLE = "input:not([type=checkbox]):not([type=radio]):not([type=button]),textarea,select";

const panels = new WeakMap();
let active = null;
let isTabbed = false;

const isEditable = (node) => node instanceof Element && (node.matches(EDITABLE) || node.isContentEditable);
const nothing = () => ({ values: {}, tags: [], note: "", tag: "" });

class Panel {
  constructor(root) {
    this.view = new PanelView(root, this);
    this.card = undefined;
    this.draft = nothing();
    this.typed = []; // keys pressed while no card lies there: they are for the next one
    this.outbox = new Outbox(AGAIN_MS);
    this.blocked = false; // the card is closed, the next one is on its way
    this.asked = false;
    this.full = false;
  }

  update(data, emit) {
    this.data = data;
    if (this.place !== data.store) this.restore(data.store);
    this.outbox.settle(data.handled, emit);
    this.blocked = this.outbox.events.some((event) => event.act !== "draft");
    if (!this.blocked) this.show(data.card, data.entered);
    else this.outbox.sendLate();
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
    const { way, axes, buttons, keys } = this.data;
    const name = keys[key];
    if (name === "undo" || name === "back") return () => this.takeBack(name);
    const button = buttons.find((one) => one.key === key);
    if (button && (this.card !== null || button.is_always)) return () => this.go(button);
    if (this.card === null) return undefined;
    if (name === "skip") return () => this.close({ act: "skip" });
    if (name === "aside") return () => this.close({ act: "flag" });
    if (name === "tags" || name === "note") return () => this.view.focus(name);
    if (way === "pair") return PLACES.includes(name) ? () => this.close({ act: "rate", place: name }) : undefined;
    if (name === "ok" || name === "not_ok") return () => this.choose("ok", name === "ok" ? 1 : 0);
    if (name === "submit") return () => this.submit();
    if (axes.length && axes[0].values.includes(Number(key))) return () => this.score(Number(key));
    return undefined;
  }

  press(key) {
    const isField = ["tags", "note"].includes(this.data.keys[key]); // there while the next card is on its way, too
    if (this.blocked && !isField) this.typed.push(key);
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

  takeBack(name) {
    const last = Object.keys(this.draft.values).pop();
    if (name === "undo" || last === undefined) return this.close({ act: "undo" });
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
    this.outbox.drop("draft");
    // What leads elsewhere leaves the card as it is: what is entered on it is kept first.
    if (what.go && this.card !== null) this.outbox.add(this.event({ act: "draft" }));
    this.outbox.add(what.go ? { card: this.card, ...what } : this.event(what));
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
    return { card: this.card, seconds: this.seconds(), ...this.entered(), ...what };
  }

  sendDraft() {
    if (this.blocked || !this.card) return;
    this.outbox.drop("draft");
    this.outbox.add(this.event({ act: "draft" }));
    this.send();
    this.keep();
  }

  send() {
    this.outbox.send();
    clearTimeout(this.lateTimer);
    this.lateTimer = setTimeout(() => this.view.say(), LATE_MS + 50);
  }

  status() {
    const { words, axes, card } = this.data;
    const unsent = this.unconfirmed().length + this.typed.length;
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

  unconfirmed() {
    return this.outbox.events.filter((event) => event.act && event.act !== "draft");
  }

  keep() {
    const pending = this.unconfirmed();
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
    this.outbox.events = this.kept.pending ?? [];
    this.typed = this.kept.typed ?? [];
    this.closedAt = performance.now();
  }

  stop() {
    for (const timer of [this.draftTimer, this.lateTimer, this.outbox.timer]) clearTimeout(timer);
    if (active === this) active = null;
  }
}

function onKey(event) {
  if (event.key === "Tab") isTabbed = true;
  if (!active || isComposing(event) || window.__q2qDrafts?.isHolding?.()) return;
  const target = event.composedPath()[0];
  if (isEditable(target) || document.querySelector(OVERLAYS)) return;
  // Who walks the page by Tab presses the button that has the focus.
  const isButton = target instanceof Element && target.closest("button,a,summary,[role=button],[role=radio]");
  const key = keyOf(event);
  if (key === null || (key === "Enter" && isTabbed && isButton) || !active.means(key)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!event.repeat) active.press(key);
}

window.addEventListener("keydown", onKey, true);
window.addEventListener("pointerdown", () => (isTabbed = false), true);

export default (drawn) => {
  const stop = draw(panels, Panel, ".panel", drawn);
  active = panels.get(drawn.parentElement.querySelector(".panel"));
  return stop;
};
