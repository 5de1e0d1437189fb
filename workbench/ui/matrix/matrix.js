// Scrolls over all rows, drawing those in view; asks the page for windows of rows, and tells it what
// is pressed until it has said that it knows.
const ROW_PX = 168;
const AROUND = 1;
const WINDOW = 10;
const ASK_MS = 15;
const AGAIN_MS = 4000;
const MOST_KEPT = 600;
const ACTS = { ok: "yes", not_ok: "no", undo: "undo", edit: "edit", rate: "rate" }; // by what a key means
const grids = new WeakMap();

class Grid {
  constructor(root) {
    this.root = root;
    this.rows = new Map();
    this.drawn = new Map();
    this.outbox = new Outbox(AGAIN_MS);
    this.active = { row: 0, column: 0 };
    this.chosen = 0;
    this.scroller = make("div", { class: "scroller", role: "grid", tabindex: "0", onscroll: () => this.scrolled() });
    this.side = make("div", { class: "side" });
    root.replaceChildren(this.scroller, this.side);
    root.onkeydown = (event) => this.press(event);
    root.onclick = () => this.keepKeys();
  }

  update(data, emit) {
    this.outbox.settle(data.handled, emit);
    const isOther = this.data?.id !== data.id;
    const hadDetail = Boolean(this.data?.detail);
    this.data = data;
    if (isOther) this.rows.clear();
    if (this.stamp !== data.stamp) for (const row of this.rows.values()) row.isOld = true; // rated, or texts came
    this.stamp = data.stamp;
    for (const row of data.rows) this.rows.set(row.i, row);
    this.build(isOther);
    if (data.detail && !hadDetail) this.chosen = 0;
    this.showDetail();
    this.render();
    this.outbox.sendLate();
  }

  build(isOther) {
    const { data } = this;
    const head = JSON.stringify([data.columns, data.factors, data.words, data.diff, data.n]);
    const shape = JSON.stringify([data.columns.map((column) => column.key), data.words, data.diff, data.n]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.drawn.clear();
      if (!isOther) this.rows.clear(); // cells of other columns
      for (const row of data.rows) this.rows.set(row.i, row);
      this.body = make("div", { class: "body", role: "rowgroup", style: `height:${data.n * ROW_PX}px` });
      this.head = null;
      const columns = data.diff.length === 2 ? 3 : data.columns.length;
      this.scroller.style.setProperty("--cells", columns);
      this.scroller.classList.toggle("compared", data.diff.length === 2);
      this.scroller.setAttribute("aria-rowcount", data.n);
    }
    if (head !== this.head) {
      this.head = head; // totals alone leave the rows where they are
      this.scroller.replaceChildren(header(data, (name, values) => this.act(name, values)), this.body);
    }
    if (isOther) {
      this.active = { row: Math.min(data.row, Math.max(0, data.n - 1)), column: 0 };
      this.toldRow = data.row;
      const top = this.active.row * ROW_PX;
      if (top || this.scroller.scrollTop) this.scroller.scrollTop = top;
      for (const node of this.drawn.values()) node.remove();
      this.drawn.clear();
    }
  }

  inView() {
    const head = this.scroller.firstChild?.offsetHeight ?? 0;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW_PX) - AROUND);
    const last = Math.min(this.data.n - 1, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight - head) / ROW_PX) + AROUND);
    return [first, last];
  }

  render() {
    const [first, last] = this.inView();
    for (const [place, node] of this.drawn) {
      if (place < first || place > last) {
        node.remove();
        this.drawn.delete(place);
      }
    }
    let lacks = null;
    for (let place = first; place <= last; place += 1) {
      const row = this.rows.get(place);
      if (!row || row.isOld) lacks ??= place;
      const old = this.drawn.get(place);
      if (old && old.row === row) continue;
      const node = this.row(place, row);
      node.row = row;
      if (old) old.replaceWith(node);
      else this.body.append(node);
      this.drawn.set(place, node);
    }
    this.markActive();
    this.root.dataset.view = this.data.id;
    this.root.dataset.state = lacks === null ? "whole" : "waiting";
    if (lacks !== null) this.ask(first);
  }

  row(place, row) {
    const node = make("div", { class: "row", role: "row", "aria-rowindex": place + 1, style: `transform:translateY(${place * ROW_PX}px)` });
    if (!row) {
      node.classList.add("waiting");
      return node;
    }
    const { data } = this;
    node.append(asked(row, data.words));
    const shown = data.diff.length === 2 ? data.diff : data.columns.map((_, column) => column);
    shown.forEach((column) => {
      node.append(make("div", { class: "cell", role: "gridcell", "data-column": column,
        onclick: () => this.open(place, column) }, ...cell(row.cells[column], data.words)));
    });
    if (data.diff.length === 2) node.append(make("div", { class: "cell", role: "gridcell" }, ...difference(row, data)));
    return node;
  }

  markActive() {
    this.root.querySelector(".cell.active")?.classList.remove("active");
    const node = this.drawn.get(this.active.row)?.querySelector(`[data-column="${this.shownColumn()}"]`);
    node?.classList.add("active");
    return node;
  }

  shownColumn() {
    const { diff } = this.data;
    return diff.length === 2 ? diff[Math.min(1, this.active.column)] : this.active.column;
  }

  scrolled() {
    this.render();
    clearTimeout(this.restTimer);
    this.restTimer = setTimeout(() => {
      const row = Math.floor(this.scroller.scrollTop / ROW_PX);
      if (row !== this.toldRow) this.tell("row", { row: (this.toldRow = row) });
    }, 900);
  }

  ask(first) {
    clearTimeout(this.askTimer);
    this.askTimer = setTimeout(() => this.tell("ask", { start: first }), ASK_MS);
  }

  // What only says where one looks replaces what was said of it before.
  tell(act, values = {}) {
    if (["ask", "row"].includes(act)) this.outbox.drop(act);
    this.outbox.add({ act, view: this.data.id, ...values });
    this.outbox.send();
    if (this.rows.size > MOST_KEPT) this.forget();
  }

  forget() {
    const [first, last] = this.inView();
    for (const place of this.rows.keys()) if (place < first - WINDOW || place > last + WINDOW) this.rows.delete(place);
  }

  move(rows, columns) {
    const { n, columns: all, diff } = this.data;
    const most = diff.length === 2 ? 1 : all.length - 1;
    this.active = {
      row: Math.min(n - 1, Math.max(0, this.active.row + rows)),
      column: Math.min(most, Math.max(0, this.active.column + columns)),
    };
    const head = this.scroller.firstChild.offsetHeight;
    const top = this.active.row * ROW_PX;
    const room = this.scroller.clientHeight - head;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    if (top + ROW_PX > this.scroller.scrollTop + room) this.scroller.scrollTop = top + ROW_PX - room;
    this.render();
    this.markActive()?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  open(row, column) {
    this.active = { row, column: this.data.diff.length === 2 ? this.data.diff.indexOf(column) : column };
    this.markActive();
    const found = this.rows.get(row);
    if (found?.cells[column]) this.tell("open", { question: found.q, column });
  }

  showDetail() {
    const { detail } = this.data;
    this.root.getRootNode().host?.toggleAttribute("data-open-box", Boolean(detail));
    this.root.classList.toggle("opened", Boolean(detail));
    if (!detail) return this.side.replaceChildren();
    this.chosen = Math.min(this.chosen, Math.max(0, detail.entries.length - 1));
    this.side.replaceChildren(drawer(detail, this.chosen, this.data, (name, values) => this.act(name, values)));
    this.side.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
    return undefined;
  }

  // The text that a key means: the chosen one of the open cell, else the most frequent of the active cell.
  text() {
    const { detail } = this.data;
    if (detail) return detail.entries[this.chosen];
    return this.rows.get(this.active.row)?.cells[this.shownColumn()]?.g[0];
  }

  act(name, values = {}) {
    if (name === "choose") {
      this.chosen = values.place;
      this.showDetail();
    } else if (name === "compare") {
      const { diff } = this.data;
      const rest = diff.filter((place) => place !== values.column);
      const next = rest.length < diff.length ? rest : [...diff, values.column].slice(-2);
      this.tell("compare", { columns: next });
    } else if (name === "close" || name === "more") this.tell(name);
    else if (name === "group") this.tell("group", values);
    else {
      const text = this.text();
      if (!text) return;
      if (name === "yes" || name === "no" || name === "undo") {
        text.own = name === "undo" ? null : name === "yes"; // shown at once; the store follows
        this.showDetail();
        this.refresh();
      }
      const question = this.data.detail?.question ?? this.rows.get(this.active.row)?.q;
      this.tell(name, { answer: text.a ?? null, reasoning: text.v ?? null, question, ...values });
    }
  }

  // A press on a text, or on a button that is drawn anew by it, would leave the keys to the page.
  keepKeys() {
    const focused = this.root.getRootNode().activeElement;
    if (!focused || !this.root.contains(focused)) this.scroller.focus({ preventScroll: true });
  }

  refresh() {
    for (const node of this.drawn.values()) node.row = undefined;
    this.render();
  }

  press(event) {
    if (isComposing(event)) return;
    const key = keyOf(event);
    const { detail } = this.data;
    const name = this.data.keys[key];
    const step = detail ? { ArrowDown: 1, ArrowUp: -1 }[key] : undefined;
    const moves = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageDown: [4, 0], PageUp: [-4, 0],
      Home: [-this.data.n, 0], End: [this.data.n, 0] };
    if (step) this.act("choose", { place: Math.max(0, Math.min(detail.entries.length - 1, this.chosen + step)) });
    else if (!detail && moves[key]) this.move(...moves[key]);
    else if (!detail && name === "submit" && event.target === this.scroller) this.open(this.active.row, this.shownColumn());
    else if (detail && name === "leave") this.act("close");
    else if (ACTS[name]) this.act(ACTS[name]);
    else if (/^[1-5]$/.test(key)) this.act("value", { value: Number(key) });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  stop() {
    for (const timer of [this.askTimer, this.outbox.timer, this.restTimer]) clearTimeout(timer);
    this.root.getRootNode().host?.removeAttribute("data-open-box");
  }
}

export default (drawn) => draw(grids, Grid, ".matrix", drawn);
