// Draws the panel once for each kind of card and then only marks what changes, so that no field
// loses its cursor.
function pressable({ label, key, icon, name, help, act }) {
  const button = make(
    "button",
    { type: "button", class: name, title: help, "aria-keyshortcuts": key || undefined },
    icon ? make("span", { class: "icon", "aria-hidden": "true" }, icon) : null,
    make("span", { class: "label" }, label),
    key ? make("kbd", { "aria-hidden": "true" }, SHOWN[key] ?? key) : null,
  );
  // The mouse leaves no focus behind: the next Enter is a key of the card again.
  button.onmousedown = (event) => event.preventDefault();
  // The second click of a double click was meant for the card before.
  button.onclick = (event) => event.detail < 2 && act();
  return button;
}

class PanelView {
  constructor(root, panel) {
    this.root = root;
    this.panel = panel;
    this.shape = null;
  }

  draw() {
    const { data } = this.panel;
    const shape = JSON.stringify([data.way, data.axes, data.buttons, data.words, data.card === null]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.build(data);
    }
    this.mark();
  }

  build(data) {
    const { words } = data;
    this.values = new Map();
    this.status = make("p", { class: "status", role: "status" });
    this.tags = this.note = this.submit = null;
    const parts = [];
    if (data.card !== null) {
      parts.push(...(data.way === "pair" ? this.verdicts(words) : this.scales(data)));
    }
    parts.push(this.status, this.bar(data));
    this.root.replaceChildren(...parts);
    this.root.className = `panel ${data.way}`;
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", words["panel.label"]);
  }

  // What does what a key of this name does.
  pressable(name, looks) {
    const key = this.keyTo(name);
    return pressable({ ...looks, key, act: () => this.panel.press(key) });
  }

  keyTo(name) {
    const { keys } = this.panel.data;
    return Object.keys(keys).find((key) => keys[key] === name);
  }

  verdicts(words) {
    const kinds = [
      ["left", words.left_better, "arrow_back"],
      ["tie", words.tie, "drag_handle"],
      ["both_bad", words.both_bad, "thumb_down"],
      ["right", words.right_better, "arrow_forward"],
    ];
    const buttons = kinds.map(([place, label, icon]) => this.pressable(place, { label, icon, name: `verdict ${place}` }));
    return [make("div", { class: "verdicts" }, ...buttons), this.fields(words)];
  }

  scales({ axes, words }) {
    const rows = axes.map((axis) =>
      this.row(axis.name, axis.label, axis.ends, axis.values.map((value) => ({ value, label: `${value}` }))),
    );
    const ok = [
      { value: 1, label: words.ok_yes, key: this.keyTo("ok") },
      { value: 0, label: words.ok_no, key: this.keyTo("not_ok") },
    ];
    rows.push(this.row("ok", words.ok, words.ok_help, ok));
    this.submit = this.pressable("submit", { label: words.submit, icon: "check", name: "submit" });
    return [make("div", { class: "scales" }, ...rows, this.fields(words)), this.submit];
  }

  row(name, label, help, choices) {
    const id = `axis-${name}`;
    const buttons = choices.map(({ value, label: text, key }) => {
      const act = () => this.panel.choose(name, value);
      const button = pressable({ label: text, key, name: "value", act });
      button.dataset.value = value;
      return button;
    });
    const row = make(
      "div",
      { class: "row", role: "group", "aria-labelledby": id, "data-axis": name },
      make("div", { class: "name" }, make("span", { id, class: "axis" }, label), make("small", {}, help)),
      make("div", { class: "choices" }, ...buttons),
    );
    this.values.set(name, { row, buttons });
    return row;
  }

  fields(words) {
    this.note = make("textarea", {
      rows: 1,
      class: "note",
      maxlength: this.panel.data.most.note,
      placeholder: words["panel.note_placeholder"],
      "aria-label": words["panel.note"],
    });
    this.note.oninput = () => this.panel.edit({ note: this.note.value });
    this.note.onkeydown = (event) => this.inField(event);
    const note = this.field(words["panel.note"], this.note);
    this.chips = make("span", { class: "chips" });
    this.tags = make("input", {
      class: "tag",
      list: "known-tags",
      maxlength: this.panel.data.most.tag,
      placeholder: words.tags_placeholder,
      "aria-label": words.tags,
      autocomplete: "off",
    });
    this.known = make("datalist", { id: "known-tags" });
    this.tags.onkeydown = (event) => this.inTags(event);
    this.tags.oninput = () => this.panel.edit({ tag: this.tags.value });
    this.tags.onblur = () => this.takeTag();
    const box = make("div", { class: "box" }, this.chips, this.tags, this.known);
    return make("div", { class: "fields" }, this.field(words.tags, box), note);
  }

  field(label, node) {
    return make("div", { class: "field" }, make("span", { class: "label", "aria-hidden": "true" }, label), node);
  }

  // What is typed into a field is never a key of the page. Esc leaves the field, and that is all.
  inField(event) {
    event.stopPropagation();
    if (isComposing(event)) return;
    if (event.key === "Escape") event.target.blur();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.target.blur();
      if (this.submit) this.panel.submit();
    }
  }

  inTags(event) {
    if (event.key === "Enter" && !isComposing(event) && !event.ctrlKey && !event.metaKey) {
      event.stopPropagation();
      event.preventDefault();
      if (this.tags.value.trim()) this.takeTag();
      else this.tags.blur();
    } else if (event.key === "Backspace" && !this.tags.value && !isComposing(event)) {
      event.stopPropagation();
      this.panel.edit({ tags: this.panel.draft.tags.slice(0, -1) });
    } else this.inField(event);
  }

  takeTag() {
    const tag = this.tags.value.trim();
    if (!tag) return;
    this.tags.value = "";
    const tags = [...new Set([...this.panel.draft.tags, tag])].slice(0, this.panel.data.most.tags);
    this.panel.edit({ tags, tag: "" });
  }

  bar({ words, buttons, card }) {
    const own = [
      ["skip", { label: words.skip, icon: "redo" }],
      ["undo", { label: words.undo, icon: "undo" }],
      ["aside", { label: words.flag, icon: "flag", help: words.flag_help }],
      ["tags", { label: words.tags, icon: "label" }],
      ["note", { label: words["panel.note"], icon: "edit_note" }],
    ].filter(([name]) => card !== null || name === "undo");
    const link = ({ label, key, icon, help }) =>
      pressable({ label, key, icon, help, name: "link", act: () => this.panel.press(key) });
    const shown = card === null ? [] : buttons.filter(({ label }) => label);
    return make(
      "div",
      { class: "bar" },
      ...own.map(([name, looks]) => this.pressable(name, { ...looks, name: "link" })),
      ...(shown.length ? [make("span", { class: "space" }), ...shown.map(link)] : []),
    );
  }

  mark() {
    const { draft, data, asked, blocked } = this.panel;
    const waiting = this.panel.waitingAxis();
    this.root.toggleAttribute("data-blocked", blocked);
    this.root.setAttribute("data-card", data.card ?? "");
    for (const [name, { row, buttons }] of this.values) {
      const value = draft.values[name];
      for (const button of buttons) {
        const isChosen = Number(button.dataset.value) === value;
        button.classList.toggle("chosen", isChosen);
        button.setAttribute("aria-pressed", isChosen);
      }
      row.classList.toggle("waiting", name === waiting && !blocked);
      row.classList.toggle("missing", asked && value === undefined && name !== "ok");
      if (name === waiting) row.setAttribute("aria-current", "step");
      else row.removeAttribute("aria-current");
    }
    if (this.note && this.note.value !== draft.note) this.note.value = draft.note;
    if (this.tags) this.markTags(draft, data);
    if (this.submit) this.submit.setAttribute("aria-disabled", this.panel.isEmpty());
    this.say();
  }

  markTags(draft, data) {
    if (this.tags.value !== draft.tag) this.tags.value = draft.tag;
    const remove = (tag) => () => this.panel.edit({ tags: draft.tags.filter((one) => one !== tag) });
    this.chips.replaceChildren(
      ...draft.tags.map((tag) => {
        const label = `${data.words["panel.remove"]} ${tag}`;
        const close = make("button", { type: "button", class: "remove", "aria-label": label, onclick: remove(tag) }, "×");
        return make("span", { class: "chip", dir: "auto" }, tag, close);
      }),
    );
    this.known.replaceChildren(...data.known.map((value) => make("option", { value })));
  }

  say() {
    const text = this.panel.status();
    if (this.status.textContent !== text) this.status.textContent = text;
    this.status.classList.toggle("asks", this.panel.asked);
  }

  focus(which) {
    const field = which === "tags" ? this.tags : this.note;
    if (field) field.focus();
  }
}
