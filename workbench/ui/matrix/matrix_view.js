// Draws the parts of the matrix. Words are set as text, never as HTML.
const percent = (share) => `${Math.round(100 * share)} %`;
const icon = (name) => make("span", { class: "icon", "aria-hidden": "true" }, name);
const counted = (forms, n, all = n) => filled(n === 1 ? forms.one : forms.other, { n: n.toLocaleString(), all: all.toLocaleString() });
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

function mark(correct, words) {
  if (correct === null || correct === undefined) return null;
  return make("span", { class: correct ? "mark right" : "mark wrong", title: correct ? words.correct : words.incorrect },
    icon(correct ? "check" : "close"));
}

function liking(score, words) {
  if (score === null || score === undefined) return null;
  const kind = score >= 2 / 3 ? "liked" : score <= 1 / 3 ? "disliked" : "mixed";
  return make("span", { class: `liking ${kind}`, title: words.score }, icon("star"), percent(score));
}

function findings(flags, words) {
  return flags.map(([name, n]) =>
    make("span", { class: "flag" }, n > 1 ? `${n} × ${words.checks[name] ?? name}` : words.checks[name] ?? name));
}

function ownMark(own, words) {
  if (own === null || own === undefined) return null;
  return make("span", { class: own ? "own yes" : "own no" }, icon(own ? "thumb_up" : "thumb_down"), own ? words.yes : words.no);
}

// The header: a line for each factor, equal levels side by side under one label; then the totals.
function header(data, act) {
  const { factors, words } = data;
  const isDiff = data.diff.length === 2;
  const places = isDiff ? data.diff : data.columns.map((_, place) => place);
  const columns = places.map((place) => data.columns[place]);
  const node = make("div", { class: "head", role: "rowgroup" });
  factors.forEach((factor, depth) => {
    const row = make("div", { class: "line", role: "row" });
    const first = () => act("group", { factors: [factor.name, ...factors.map((one) => one.name).filter((one) => one !== factor.name)] });
    row.append(make("div", { class: "corner", role: "columnheader" }, depth
      ? make("button", { type: "button", class: "plain", title: filled(words.group_by, { factor: factor.label }), onclick: first },
        factor.label, icon("vertical_align_top")) : factor.label));
    for (let start = 0; start < columns.length; ) {
      const same = (place) => columns[place].levels.slice(0, depth + 1).join("\u0000");
      let end = start + 1;
      while (end < columns.length && same(end) === same(start)) end += 1;
      const level = columns[start].shown[depth];
      row.append(make("div", { class: "level", role: "columnheader", title: level, style: `grid-column: span ${end - start}` },
        make("span", {}, level)));
      start = end;
    }
    if (isDiff) row.append(make("div", { class: "level" }, depth ? "" : words.difference));
    node.append(row);
  });
  const totals = make("div", { class: "line totals", role: "row" });
  totals.append(make("div", { class: "corner", role: "columnheader" }, counted(words.questions, data.n)));
  columns.forEach((column, at) => totals.append(total(column, places[at], data, act)));
  if (isDiff) totals.append(make("div", { class: "total" }, make("span", { class: "soft" }, words.difference_help)));
  node.append(totals);
  return node;
}

function total(column, place, data, act) {
  const { words, diff } = data;
  const { total: sums } = column;
  const side = diff.indexOf(place);
  const compare = make("button", { type: "button", class: "compare", "aria-pressed": side >= 0, title: words.compare_help,
    onclick: () => act("compare", { column: place }) }, icon("compare_arrows"),
    side === 0 ? words.before : side === 1 ? words.after : words.compare);
  const node = make("div", { class: "total", role: "columnheader" });
  if (!sums) return make("div", { class: "total", role: "columnheader" }, make("span", { class: "soft" }, words.counting), compare);
  if (sums.accuracy) node.append(bar(sums.accuracy, words.accuracy, `${percent(sums.accuracy[0])}`));
  if (sums.score) node.append(bar(sums.score, words.score, `★ ${percent(sums.score[0])}`));
  node.append(make("div", { class: "line2" }, make("span", { class: "soft" }, counted(words.answers, sums.n)), compare));
  return node;
}

function bar([value, low, high], label, text) {
  const span = low === null ? "" : ` (${Math.round(100 * low)}–${Math.round(100 * high)})`;
  const track = make("div", { class: "track" });
  if (low !== null) track.append(make("div", { class: "reach", style: `left:${100 * low}%;right:${100 - 100 * high}%` }));
  track.append(make("div", { class: "dot", style: `left:${100 * value}%` }));
  return make("div", { class: "bar", title: label }, make("span", { class: "value" }, text, make("small", {}, span)), track);
}

function asked(row, words) {
  return make("div", { class: "asked", role: "rowheader" },
    row.ref ? make("div", { class: "reference", title: row.ref }, icon("flag"), make("b", {}, `${words.reference} `), row.ref) : null,
    make("div", { class: "question", title: row.text }, row.text),
    make("div", { class: "soft" }, `q${row.q}`));
}

function cell(one, words) {
  if (!one) return [make("span", { class: "soft none" }, words.nothing)];
  const total = one.n || one.k;
  const parts = one.g.map((group, place) => {
    const many = group.n > 1 || total > 1;
    const flags = findings(group.f ?? [], words);
    const isRead = group.r !== undefined;
    return make("div", { class: `group${place ? " later" : ""}` },
      make("div", { class: "facts" }, mark(group.c, words),
        isRead ? make("span", { class: "result" }, group.r) : null,
        many ? make("span", { class: "count" }, counted(words.of, group.n, total)) : null,
        ownMark(group.own, words), liking(group.s, words), ...flags),
      group.why && group.t !== undefined ? make("div", { class: "why", title: group.why }, icon("psychology"), group.why) : null,
      place && isRead ? null : make("div", { class: "text" }, group.t || group.why || words.empty));
  });
  const more = one.groups - one.g.length;
  const facts = one.n ? [counted(words.answers, one.n)] : [];
  if (one.k) facts.push(counted(words.reasonings, one.k));
  if (one.gr) facts.push(filled(words.right, { n: one.ok, all: one.gr }));
  if (more > 0) facts.push(counted(words.more, more));
  return [...parts, make("div", { class: "soft foot" }, facts.join(" · "))];
}

function difference(row, data) {
  const { words } = data;
  const node = make("div", { class: `change ${row.change ?? ""}` });
  node.append(...(row.diff ?? []).map(([kind, text]) =>
    kind === "in" ? make("ins", {}, text) : kind === "out" ? make("del", {}, text) : document.createTextNode(text)));
  const notes = [];
  const change = { better: words.became_right, worse: words.became_wrong }[row.change];
  const graded = (row.graded ?? []).map(([n, all]) => `${n}/${all}`).join(" → ");
  if (graded) notes.push([change, filled(words.graded, { graded })].filter(Boolean).join(": "));
  if (!row.diff?.length) notes.push(words.one_sided);
  if (row.scores) notes.push(filled(words.scores, { before: percent(row.scores[0]), after: percent(row.scores[1]) }));
  return [make("div", { class: "facts" }, ...notes.map((note) => make("span", { class: `note ${row.change ?? ""}` }, note))), node];
}

// All of one cell: each reasoning with its answers, to be read and rated.
function drawer(detail, chosen, data, act) {
  const { words } = data;
  const column = data.columns[detail.column];
  const list = detail.entries.map((entry, place) => {
    const node = make("article", { class: "entry", "aria-current": place === chosen, onclick: () => act("choose", { place }) },
      make("div", { class: "facts" }, mark(entry.c, words), entry.found ? make("span", { class: "soft" }, filled(words.read, { found: entry.found })) : null,
        ownMark(entry.own, words), liking(entry.s, words), ...findings(entry.f.map((name) => [name, 1]), words),
        make("a", { href: `explore?id=${entry.a ? `a${entry.a}` : `v${entry.v}`}`, target: "_blank" }, entry.a ? `a${entry.a}` : `v${entry.v}`)),
      entry.reasoning ? make("p", { class: "reasoning" }, entry.reasoning) : null,
      entry.answer !== null ? make("p", { class: "answer" }, entry.answer || words.empty) : null);
    return node;
  });
  const keys = Object.fromEntries(Object.entries(data.keys).map(([key, name]) => [ACTS[name] ?? name, key]));
  const button = (name, symbol, label, key = keys[name]) =>
    make("button", { type: "button", onclick: () => act(name), "aria-keyshortcuts": key }, icon(symbol), label, make("kbd", {}, key));
  return make("section", { class: "drawer", role: "dialog", "aria-label": words.cell_label },
    make("header", {},
      make("div", { class: "facts" }, make("b", {}, column.shown.join(" · ") || words.all), make("span", { class: "soft" },
        filled(detail.n === 1 ? words.shown_of.one : words.shown_of.other, { n: detail.entries.length, all: detail.n }))),
      make("p", { class: "question" }, detail.text),
      detail.ref ? make("p", { class: "reference" }, icon("flag"), make("b", {}, `${words.reference} `), detail.ref) : null,
      make("div", { class: "actions" }, button("yes", "thumb_up", words.yes), button("no", "thumb_down", words.no),
        ...[1, 2, 3, 4, 5].map((value) => make("button", { type: "button", class: "digit", title: words.value, "aria-keyshortcuts": value,
          onclick: () => act("value", { value }) }, String(value))),
        button("undo", "undo", words.undo), button("edit", "edit", words.edit), button("rate", "star", words.rate),
        button("close", "close", words.close, "Esc"))),
    make("div", { class: "entries" }, ...list, detail.entries.length < detail.n
      ? make("button", { type: "button", onclick: () => act("more") }, icon("expand_more"),
        counted(words.further, detail.n - detail.entries.length)) : null));
}
