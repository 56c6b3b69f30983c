/**
 * ModelPicker in the page: search, filter, sort and pick without asking the kernel.
 *
 * The first 200 rows that match are shown; a row's elements are made when it is first shown, and kept.
 * What the person does becomes a trait first; the traits' changes draw (so all views agree).
 * All text of the catalogue goes in through textContent.
 *
 * @import { Filters } from "./picker-table.js"
 *
 * @typedef {object} Model  anywidget's model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(content: object) => void} send
 * @property {(event: string, callback: () => void) => void} on
 *
 * @typedef {{ key: string, label: string, unit: string, kind: string }} Column
 */

import { copied, icon, make } from "./elements.js";
import { ASKED_FLAGS, Catalogue, WRITE, day, exact, tokens, usd, whole } from "./picker-table.js";

const MOST_ROWS = 200;

const FILTERS = [
  "search", "kind", "free", "min_context", "accepts", "returns", "parameters", "tools", "reasoning",
  "structured_outputs", "max_prompt_usd_per_million", "max_completion_usd_per_million", "family",
  "author", "routers", "aliases", "batch",
];

/**
 * The chips: a flag by filter name, or a modality that must be accepted.
 * @type {{ label: string, hint: string, filter?: string, accepts?: string }[]}
 */
const CHIPS = [
  { filter: "free", label: "Free", hint: "Nothing is billed" },
  { filter: "tools", label: "Tools", hint: "Can call tools" },
  { accepts: "image", label: "Vision", hint: "Takes images" },
  { accepts: "file", label: "Files", hint: "Takes files such as PDF" },
  { filter: "reasoning", label: "Reasoning", hint: "Reasons before it answers" },
  {
    filter: "structured_outputs", label: "Structured output",
    hint: "Can hold its answer to a JSON schema",
  },
  { filter: "batch", label: "Batch", hint: "Show rows of the asynchronous Batch API too" },
];
const CONTEXTS = [32_000, 128_000, 200_000, 1_000_000];
const PRICES = [0, 0.1, 1, 10];

// --- elements --------------------------------------------------------------------------------------

const ICONS = {
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9ZM10.4 10.4 14 14",
  tick: "M3.5 8.5 6.5 11.5 12.5 5",
  cross: "M4.5 4.5 11.5 11.5M11.5 4.5 4.5 11.5",
  copy: "M5.5 5.5V3.2c0-.4.3-.7.7-.7h6.6c.4 0 .7.3.7.7v6.6c0 .4-.3.7-.7.7h-2.3M3.2 5.5h6.6c.4 0 .7.3.7.7v6.6c0 .4-.3.7-.7.7H3.2a.7.7 0 0 1-.7-.7V6.2c0-.4.3-.7.7-.7Z",
};

/** Say for a moment that a button has done its work. @param {HTMLElement} button @param {string} said */
const confirm = (button, said) => {
  const label = button.querySelector(".says") ?? button;
  const before = button.dataset.says ??= label.textContent ?? "";
  label.textContent = said;
  button.classList.add("done");
  setTimeout(() => { label.textContent = before; button.classList.remove("done"); }, 1400);
};

// --- one view ------------------------------------------------------------------------------------------

/** What the parts of one view share. */
class View {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.multiple = Boolean(model.get("multiple"));
    this.catalogue = new Catalogue(model.get("_table"));
    this.prefix = `ornb-picker-${Math.random().toString(36).slice(2)}`;
    /** @type {number[]} */
    this.shown = [];
    this.active = -1;                                 // row the keyboard is on, by its place in the table
    this.status = make("span.unseen", { role: "status" });
    this.notice = make("span.notice");
    this.search = /** @type {HTMLInputElement} */ (make("input.search", {
      type: "search", placeholder: "Search models", "aria-label": "Search models", autocomplete: "off",
      spellcheck: false, "aria-controls": `${this.prefix}-grid`, "aria-describedby": `${this.prefix}-keys`,
    }));
    this.search.addEventListener("input", () => this.put({ search: this.search.value }));
    /** Another row is the active one. */
    this.moved = () => {};
    /** The person chose columns, who shall see them however narrow it is. */
    this.chose = () => {};
  }

  /** @returns {Column[]} */
  get columns() {
    const all = /** @type {Column[]} */ (this.model.get("_columns"));
    return this.model.get("columns").flatMap((/** @type {string} */ name) => all.find(({ key }) => key === name) ?? []);
  }

  /** @param {Record<string, any>} changes */
  put(changes) {
    for (const [name, value] of Object.entries(changes)) this.model.set(name, value);
    this.model.save_changes();
  }

  /** @returns {Filters} */
  filters() { return Object.fromEntries(FILTERS.map((name) => [name, this.model.get(name)])); }

  /** @returns {string[]} */
  picked() { const value = this.model.get("value"); return value === null ? [] : [].concat(value); }

  /** @param {number} i */
  pick(i) {
    const id = this.catalogue.table.id[i];
    if (!this.multiple) { this.put({ value: id }); return; }
    const now = this.picked();
    if (now.includes(id)) { this.put({ value: now.filter((one) => one !== id) }); return; }
    const most = this.model.get("max_choices");
    if (most !== null && now.length >= most) {
      this.say(`${most} picked, which is the most. Remove one first.`);
      return;
    }
    this.put({ value: [...now, id] });
  }

  /** The row shown closer: the active one, or what was picked last. */
  closer() { return this.active >= 0 ? this.active : this.catalogue.rowOf.get(this.picked().at(-1) ?? "") ?? -1; }

  isOpen() { return this.closer() >= 0 && this.model.get("_opened") === this.catalogue.table.id[this.closer()]; }

  /** @param {boolean} open  or closed: what the kernel tells of the row shown closer */
  open(open) {
    if (open !== this.isOpen()) this.put({ _opened: open ? this.catalogue.table.id[this.closer()] : null });
  }

  /** @param {number} i */
  look(i) { this.active = i; this.moved(); }

  /** @param {string} text */
  say(text) { this.notice.textContent = text; this.status.textContent = text; }
}

// --- the filters ---------------------------------------------------------------------------------------

/** @param {View} view @param {typeof CHIPS[number]} chip */
function flagChip(view, chip) {
  const { model } = view;
  const label = make("span", {}, chip.label);
  const button = make("button.chip", { type: "button", title: chip.hint, "aria-pressed": "false" }, label);
  const has = () => {
    if (chip.accepts) return model.get("accepts")?.includes(chip.accepts) ?? false;
    return model.get(String(chip.filter));
  };
  button.addEventListener("click", () => {
    if (chip.accepts) {
      const others = (model.get("accepts") ?? []).filter((/** @type {string} */ one) => one !== chip.accepts);
      const accepts = has() ? others : [...others, chip.accepts];
      view.put({ accepts: accepts.length ? accepts : null });
    } else if (chip.filter === "batch") view.put({ batch: !has() });
    else view.put({ [String(chip.filter)]: has() === null ? true : null });
  });
  const draw = () => {
    const refused = has() === false && chip.filter && chip.filter !== "batch";
    label.textContent = refused ? `Not ${chip.label.toLowerCase()}` : chip.label;
    button.setAttribute("aria-pressed", String(Boolean(has()) || Boolean(refused)));
  };
  return { element: button, draw };
}

/**
 * A select over one filter; a value set from Python that is not among those offered is added.
 * @template {number | string[]} Value
 * @param {View} view
 * @param {string} name @param {string} label @param {string} any @param {Value[]} offered @param {(v: Value) => string} write
 */
function choice(view, name, label, any, offered, write) {
  const select = /** @type {HTMLSelectElement} */ (make("select", { "aria-label": label, title: label }));
  select.addEventListener("change", () => view.put({ [name]: select.value === "" ? null : JSON.parse(select.value) }));
  /** @type {string | undefined} */
  let drawn;
  const draw = () => {
    const value = view.model.get(name);
    const key = value === null ? "" : JSON.stringify(value);
    if (key === drawn) return;
    drawn = key;
    const values = !key || offered.some((one) => JSON.stringify(one) === key) ? offered : [...offered, value];
    if (typeof value === "number") values.sort((a, b) => Number(a) - Number(b));
    select.replaceChildren(
      make("option", { value: "" }, any),
      ...values.map((one) => make("option", { value: JSON.stringify(one) }, write(one))),
    );
    select.value = key;
    select.classList.toggle("set", key !== "");
  };
  return { element: select, draw };
}

/** @param {number} v  USD per million tokens */
const atMost = (v) => (v === 0 ? "$0 per M" : `≤ ${usd(v)} per M`);

/** What is not always at hand: more filters, and which columns are shown. @param {View} view */
function moreBar(view) {
  const { catalogue, model, prefix } = view;
  const joined = (/** @type {string[]} */ names) => names.join(", ");
  const choices = [
    choice(view, "author", "Maker", "Any maker", catalogue.listed("author"), joined),
    choice(view, "returns", "Output kind, among others", "Any output", catalogue.listed("output_modalities"), joined),
    choice(view, "max_prompt_usd_per_million", "Prompt price per million tokens, at most", "Any prompt price", PRICES, atMost),
  ];
  const boxes = /** @type {Column[]} */ (model.get("_columns")).filter(({ key }) => key !== "name").map(({ key, label }) => {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => {
      const others = model.get("columns").filter((/** @type {string} */ one) => one !== key);
      view.chose();
      view.put({ columns: box.checked ? [...others, key] : others });
    });
    return { key, box, element: make("label", {}, box, label) };
  });
  const keep = make("input", { type: "checkbox" });
  keep.addEventListener("change", () => model.send({ type: "keep_used", on: keep.checked }));
  const element = make("div.morebar", { id: `${prefix}-more`, hidden: true },
    make("div.bar", {}, ...choices.map((one) => one.element)),
    make("fieldset.columns", {}, make("legend", {}, "Columns"), ...boxes.map((one) => one.element)),
    make("div.columns", {}, make("label", {}, keep, "Keep what I pick as “last picked”, in a file of my data folder")));
  const opener = make("button.chip", { type: "button", "aria-expanded": "false", "aria-controls": element.id }, "More …");
  opener.addEventListener("click", () => {
    element.hidden = !element.hidden;
    opener.setAttribute("aria-expanded", String(!element.hidden));
  });
  const draw = () => {
    for (const one of choices) one.draw();
    keep.checked = model.get("_kept").last_used !== null;
    for (const { key, box } of boxes) box.checked = model.get("columns").includes(key);
  };
  return { element, opener, draw };
}

/** The filters set that have no control of their own, each with what takes it off. @param {Model} model */
function otherFilters(model) {
  /** @type {[string, Record<string, any>][]} */
  const set = [];
  for (const name of ["kind", "accepts", "returns", "parameters", "family", "author"]) {
    const wanted = model.get(name) ?? [];
    for (const one of wanted) {
      if (name === "accepts" && ["image", "file"].includes(one)) continue;
      const rest = wanted.filter((/** @type {string} */ other) => other !== one);
      set.push([`${name} ${one}`, { [name]: rest.length ? rest : null }]);
    }
  }
  const prompt = model.get("max_prompt_usd_per_million");
  if (prompt !== null) set.push([`prompt ≤ ${usd(prompt)} per M`, { max_prompt_usd_per_million: null }]);
  for (const name of ["routers", "aliases"]) if (!model.get(name)) set.push([`no ${name}`, { [name]: true }]);
  return set;
}

/** Those, as chips to remove, and the button that takes all filters back. @param {View} view */
function removable(view) {
  const extras = make("span.extras");
  const reset = make("button.link", { type: "button" }, "Reset");
  reset.addEventListener("click", () => {
    const none = Object.fromEntries(FILTERS.map((name) => [name, null]));
    view.put({ ...none, search: "", routers: true, aliases: true, batch: false });
    view.search.focus();
  });
  const draw = () => {
    const set = otherFilters(view.model);
    extras.replaceChildren(...set.map(([label, off]) => {
      const button = make("button.chip.extra", { type: "button", "aria-label": `Remove filter: ${label}` },
        make("span", {}, label), icon(ICONS.cross));
      button.addEventListener("click", () => { view.put(off); view.search.focus(); });
      return button;
    }));
    const now = view.filters();
    reset.hidden = !(now.search || now.batch || set.length || Object.keys(ASKED_FLAGS).some((n) => now[n] !== null)
      || now.accepts || now.min_context !== null || now.max_completion_usd_per_million !== null);
  };
  return { elements: [extras, reset], draw };
}

/** Favourites and what was picked last, to pick with a click. @param {View} view */
function keptBar(view) {
  const { catalogue, model } = view;
  const element = make("div.kept");
  /** @param {string} label @param {string[]} ids */
  const group = (label, ids) => {
    const buttons = ids.flatMap((id) => {
      const i = catalogue.rowOf.get(id);
      if (i === undefined) return [];                 // no longer listed
      const button = make("button.chip", { type: "button", title: `Pick ${id}` }, catalogue.table.name[i]);
      button.addEventListener("click", () => { view.look(i); if (!view.picked().includes(id)) view.pick(i); });
      return [button];
    });
    return buttons.length ? [make("div.chips", { role: "group", "aria-label": label }, make("span.lead", {}, label), ...buttons)] : [];
  };
  const draw = () => {
    const { favourites, last_used: last, note } = model.get("_kept");
    element.replaceChildren(...group("Favourites", favourites), ...group("Last picked", last ?? []),
      ...(note ? [make("p.notes", {}, note)] : []));
  };
  return { element, draw };
}

/** The search box and all filters. @param {View} view */
function filterBar(view) {
  const context = choice(view, "min_context", "Context length, at least", "Any context", CONTEXTS, (v) => `≥ ${tokens(v)} tokens`);
  const price = choice(view, "max_completion_usd_per_million", "Price of a million completion tokens, at most", "Any price", PRICES, atMost);
  const kinds = view.catalogue.listed("kind");
  const kind = choice(view, "kind", "What the model makes", "Any kind", kinds, (names) => names.join(", "));
  const chips = CHIPS.map((chip) => flagChip(view, chip));
  const [more, extras] = [moreBar(view), removable(view)];
  const { search } = view;
  const draw = () => {
    const text = view.model.get("search");
    if (search.value !== text) search.value = text;
    for (const part of [...chips, kind, context, price, more, extras]) part.draw();
  };
  return {
    elements: [
      make("div.bar", {}, make("label.searchbox", {}, icon(ICONS.search), search), kinds.length > 1 ? kind.element : null, context.element, price.element),
      make("div.chips", { role: "group", "aria-label": "Filters" },
        ...chips.map(({ element }) => element), more.opener, ...extras.elements),
      more.element,
    ],
    draw,
  };
}

// --- the list ------------------------------------------------------------------------------------------

/** The line of headings, which sort. @param {View} view */
function headings(view) {
  const { model } = view;
  const row = make("div.row.head", { role: "row", "aria-rowindex": "1" });
  /** @param {Column} column */
  const head = (column) => {
    const button = make("button", { type: "button", title: `Sort by ${column.label.toLowerCase()}` },
      make("span.label", {}, column.label, make("span.arrow", { "aria-hidden": "true" })),
      column.unit ? make("span.unit", {}, column.unit) : null);
    button.addEventListener("click", () => {
      const [key, up] = model.get("sort");
      const first = column.kind === "text" || column.kind === "usd";   // cheap and A first; big and new first
      if (key !== column.key) view.put({ sort: [column.key, first] });
      else view.put({ sort: up === first ? [key, !up] : ["match", false] });
    });
    return make(`div.cell.${column.kind}`, { role: "columnheader", "data-key": column.key }, button);
  };
  const draw = () => {
    const [sort, up] = model.get("sort");
    const key = sort === "match" && !model.get("search").trim() ? "created" : sort;
    for (const one of row.children) {
      if (one.dataset.key === key) one.setAttribute("aria-sort", up ? "ascending" : "descending");
      else one.removeAttribute("aria-sort");
    }
  };
  const drawColumns = () => { row.replaceChildren(...view.columns.map(head)); draw(); };
  return { element: make("div.headrow", { role: "rowgroup" }, row), draw, drawColumns };
}

/** @param {Catalogue} catalogue @param {number} i */
const nameOf = (catalogue, i) => {
  const name = catalogue.table.name[i];
  const cut = name.indexOf(": ");                     // "Maker: Model", usually
  return cut < 0 ? [name] : [make("span.maker", {}, name.slice(0, cut + 2)), name.slice(cut + 2)];
};

/** What a price cell says: a router has no price of its own. @param {Catalogue} catalogue @param {string} key @param {number} i */
const priceOf = (catalogue, key, i) => {
  const value = catalogue.number(key)[i];
  if (catalogue.flag("is_free", i) && value === 0) return ["free", "free"];
  if (catalogue.inOtherUnit(i)) return ["other unit", "missing"];
  if (value === null) return catalogue.flag("is_router", i) ? ["varies", "missing"] : ["–", "missing"];
  return [usd(value), ""];
};

/** @param {Catalogue} catalogue @param {Column} column @param {number} i */
function cell(catalogue, { key, kind }, i) {
  if (key === "name") {
    return make("div.cell.text.name", { role: "gridcell", "data-key": key },
      make("span.mark", { "aria-hidden": "true" }, icon(ICONS.tick)),
      make("span.names", {},
        make("span.title", { title: catalogue.table.name[i] }, ...nameOf(catalogue, i)),
        make("span.id", {}, catalogue.table.id[i])));
  }
  const attributes = { role: "gridcell", "data-key": key };
  if (kind === "text") return make("div.cell.text", attributes, String(catalogue.word(key, i) ?? "–"));
  if (kind === "usd") {
    const [text, look] = priceOf(catalogue, key, i);
    return make(`div.cell.usd`, attributes, make(look ? `span.${look}` : "span", {}, text));
  }
  const value = catalogue.number(key)[i];
  if (value === null) return make(`div.cell.${kind}`, attributes, make("span.missing", {}, "–"));
  const made = make(`div.cell.${kind}`, attributes, make("span", {}, WRITE[kind](value)));
  if (kind === "tokens") made.title = `${whole.format(value)} tokens`;
  if (kind === "points") made.style.setProperty("--share", String(value / catalogue.best(key)));
  return made;
}

/** The rows that match, walked by keyboard. */
class List {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    /** @type {Map<number, HTMLElement>} */
    this.rows = new Map();
    this.tabbable = -1;
    this.announcing = 0;
    /** @type {Set<number | undefined>} */
    this.marked = new Set();
    this.headings = headings(view);
    this.body = make("div.rows", { role: "rowgroup" });
    this.grid = make("div.grid", {
      role: "grid", id: `${view.prefix}-grid`, "aria-label": "Models", "aria-multiselectable": view.multiple ? "true" : null,
    }, this.headings.element, this.body);
    this.more = make("p.more");
    this.count = make("span.count");
    this.scroller = make("div.scroller", {}, this.grid, this.more);
    this.body.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const clicked = /** @type {HTMLElement} */ (event.target).closest("[data-row]");
      if (!clicked) return;
      view.active = Number(/** @type {HTMLElement} */ (clicked).dataset.row);
      view.pick(view.active);
      view.moved();
    });
    this.body.addEventListener("focusin", (/** @type {FocusEvent} */ event) => {
      view.look(Number(/** @type {HTMLElement} */ (event.target).dataset.row));
    });
  }

  /** @param {number} i @returns {HTMLElement} */
  row(i) {
    const known = this.rows.get(i);
    if (known) return known;
    const { catalogue, columns } = this.view;
    /** @type {HTMLElement} */
    const made = make("div.row", { role: "row", tabindex: "-1", "data-row": String(i), "aria-selected": "false" },
      ...columns.map((column) => cell(catalogue, column, i)));
    this.rows.set(i, made);
    return made;
  }

  /** Let Tab reach one row. */
  drawEntry() {
    const { shown, active } = this.view;
    this.rows.get(this.tabbable)?.setAttribute("tabindex", "-1");
    this.tabbable = shown.includes(active) ? active : shown[0] ?? -1;
    this.rows.get(this.tabbable)?.setAttribute("tabindex", "0");
  }

  draw() {
    const { view } = this;
    const filters = view.filters();
    const matches = view.catalogue.matches(filters, view.model.get("sort"));
    this.show(matches.slice(0, MOST_ROWS));
    this.drawCounts(matches.length, filters);
    this.drawEntry();
  }

  /** @param {number[]} next */
  show(next) {
    const { view, body } = this;
    if (next.length === view.shown.length && next.every((i, at) => i === view.shown[at])) return;
    const hadFocus = body.contains(document.activeElement);
    view.shown = next;
    body.replaceChildren(...next.map((i) => this.row(i)));
    next.forEach((i, at) => this.row(i).setAttribute("aria-rowindex", String(at + 2)));
    body.hidden = next.length === 0;                  // a group of no rows is none
    this.scroller.scrollTop = 0;
    if (hadFocus) (next.includes(view.active) ? this.row(view.active) : view.search).focus({ preventScroll: true });
  }

  /** @param {number} found @param {Filters} filters */
  drawCounts(found, filters) {
    const { catalogue, shown, status } = this.view;
    const hidden = found - shown.length;
    const meant = found ? "" : catalogue.meant(filters.search);
    this.more.hidden = hidden === 0 && found > 0;
    if (meant) this.more.replaceChildren(...this.propose(filters.search, meant));
    else this.more.textContent = hidden ? `and ${whole.format(hidden)} more: type to narrow` : this.nothing(filters);
    this.grid.setAttribute("aria-rowcount", String(found + 1));
    this.count.replaceChildren(make("b", {}, whole.format(found)), ` of ${whole.format(catalogue.size)} models`);
    clearTimeout(this.announcing);                    // once, when the typing rests
    const said = meant ? `. Did you mean ${meant}?` : "";
    this.announcing = setTimeout(() => { status.textContent = `${found} of ${catalogue.size} models${said}`; }, 500);
  }

  /** @param {Filters} filters */
  nothing(filters) {
    const { catalogue } = this.view;
    const kinds = catalogue.listed("kind").flat();
    const missing = (filters.kind ?? []).filter((/** @type {string} */ one) => !kinds.includes(one)).join(" or ");
    const why = this.view.model.get("_source").chats_alone ? "; ornb.sign_in() goes live, where others are listed" : "";
    if (missing) return `None of these models makes ${missing}${why}.`;
    const untold = catalogue.untold(filters).join(" and ");
    return `No model matches${untold ? `: this server tells ${untold} of none` : ""}. Remove a filter or a word.`;
  }

  /** @param {string} search @param {string} meant */
  propose(search, meant) {
    const button = make("button.link", { type: "button" }, meant);
    button.addEventListener("click", () => { this.view.put({ search: meant }); this.view.search.focus(); });
    return [`Nothing fits “${search.trim()}”. Did you mean `, button, "?"];
  }

  /** Make all anew, of other columns. */
  drawColumns() {
    this.rows.clear();
    this.marked = new Set();
    this.view.shown = [];
    this.grid.style.setProperty("--columns", String(this.view.columns.length - 1));
    this.headings.drawColumns();
    this.draw();
    this.drawPicked();
  }

  drawPicked() {
    const now = new Set(this.view.picked().map((id) => this.view.catalogue.rowOf.get(id)));
    for (const i of this.marked) if (i !== undefined && !now.has(i)) this.row(i).setAttribute("aria-selected", "false");
    for (const i of now) if (i !== undefined) this.row(i).setAttribute("aria-selected", "true");
    this.marked = now;
  }

  /** @param {number} at  place among the rows shown */
  go(at) {
    const { view, scroller } = this;
    if (!view.shown.length) return;
    view.active = view.shown[Math.max(0, Math.min(view.shown.length - 1, at))];
    const target = this.row(view.active);
    target.focus({ preventScroll: true });            // the list scrolls, the notebook stays
    const top = target.offsetTop - this.headings.element.offsetHeight;
    const bottom = target.offsetTop + target.offsetHeight - scroller.clientHeight;
    if (at <= 0) scroller.scrollTop = 0;
    else if (scroller.scrollTop > top) scroller.scrollTop = top;
    else if (scroller.scrollTop < bottom) scroller.scrollTop = bottom;
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was ours */
  key(event) {
    const { view } = this;
    const at = view.shown.indexOf(view.active);
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / (this.row(view.shown[0]).offsetHeight || 44)) - 1);
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowDown: () => this.go(at + 1),
      ArrowUp: () => (at <= 0 ? view.search.focus() : this.go(at - 1)),
      PageDown: () => this.go(at + page),
      PageUp: () => this.go(at - page),
      Home: () => this.go(0),
      End: () => this.go(view.shown.length - 1),
      Enter: () => view.pick(view.active),
      " ": () => view.pick(view.active),
      ArrowRight: () => view.open(true),
      ArrowLeft: () => view.open(false),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return false;
    keys[event.key]();
    return true;
  }
}

/** What the keys do. @param {View} view @param {List} list @param {KeyboardEvent} event */
function onKey(view, list, event) {
  const save = (event.ctrlKey || event.metaKey) && event.key === "s";
  if (!save) event.stopPropagation();                 // JupyterLab's shortcuts: dd deletes the cell
  const inSearch = event.target === view.search;
  const inList = list.body.contains(/** @type {Node} */ (event.target));
  if (event.key === "Escape" && (inSearch || inList)) {
    event.preventDefault();
    view.put({ search: "" });
    view.search.focus();
  } else if (inSearch && event.key === "ArrowDown") {
    event.preventDefault();
    list.go(Math.max(0, view.shown.indexOf(view.active)));
  } else if (inList && view.shown.length && list.key(event)) {
    event.preventDefault();
  } else if (inList && (event.key.length === 1 || event.key === "Backspace") && !event.ctrlKey && !event.metaKey && !event.altKey) {
    view.search.focus();                              // the key itself lands in the box
  }
}

// --- what is picked, and one model closer ------------------------------------------------------------------

/** @param {View} view */
function pickedBar(view) {
  const { catalogue, model, multiple } = view;
  const element = make("div.chosen", { role: "group", "aria-label": "Picked models" });
  /** @param {string} id */
  const pick = (id) => {
    const i = catalogue.rowOf.get(id) ?? -1;
    const off = make("button.remove", { type: "button", "aria-label": `Remove ${id}`, title: "Remove" }, icon(ICONS.cross));
    off.addEventListener("click", (/** @type {Event} */ event) => {
      event.stopPropagation();
      view.put({ value: multiple ? view.picked().filter((one) => one !== id) : null });
      view.search.focus({ preventScroll: true });
    });
    const look = make("button.look", { type: "button", title: `Show ${id}` }, i < 0 ? id : catalogue.table.name[i]);
    look.addEventListener("click", () => view.look(i));
    return make("span.pick", {}, look, off);
  };
  const says = make("span.says");
  const compare = make("button.icon-button.compare", { type: "button" }, says);
  compare.addEventListener("click", async () => {
    if (model.get("_compares")) { model.send({ type: "compare" }); return; }
    await copied(`ornb.compare("Your question", ${JSON.stringify(view.picked()).replaceAll('","', '", "')})`);
    confirm(compare, "Copied: paste it into a cell");
  });
  const draw = () => {
    const ids = view.picked();
    says.textContent = model.get("_compares") ? "Compare these" : "Copy the line that compares these";
    delete compare.dataset.says;
    view.notice.textContent = "";
    const most = model.get("max_choices");
    element.replaceChildren(
      make("span.lead", {}, ids.length ? (multiple ? `Picked ${ids.length}${most === null ? "" : ` of ${most}`}` : "Picked")
        : "Nothing picked yet. Click a model, or press ↓ and Enter."),
      ...ids.map(pick),
      ...(multiple && ids.length > 1 ? [compare] : []),
      view.notice,
    );
  };
  return { element, draw };
}

/** @param {View} view */
function details(view) {
  const { catalogue, model } = view;
  const element = make("div.details", { role: "group", "aria-label": "Details" });
  const more = make("div.closer", { id: `${view.prefix}-closer` });
  const says = make("span.says");
  const star = make("button.icon-button", {
    type: "button", title: "Keep among your favourites, in a file of your data folder",
  });
  star.addEventListener("click", () => {
    model.send({ type: "favourite", id: catalogue.table.id[view.closer()], on: star.getAttribute("aria-pressed") !== "true" });
  });
  const drawStar = () => {
    const is = model.get("_kept").favourites.includes(catalogue.table.id[view.closer()]);
    star.setAttribute("aria-pressed", String(is));
    star.setAttribute("aria-label", "Favourite");
    star.textContent = is ? "★ Favourite" : "☆ Favourite";
  };
  const opener = make("button.icon-button", { type: "button", "aria-controls": more.id }, says);
  opener.addEventListener("click", () => view.open(!view.isOpen()));
  const draw = () => {
    const i = view.closer();
    element.hidden = i < 0;
    if (i < 0) return;
    const id = catalogue.table.id[i];
    const button = make("button.icon-button", { type: "button", "aria-label": `Copy id ${id}`, title: "Copy id" },
      icon(ICONS.copy), make("span.says", {}, "Copy id"));
    button.addEventListener("click", async () => { await copied(id); confirm(button, "Copied"); });
    const page = model.get("_source").pages ? make("a.link", {
      href: `https://openrouter.ai/${id.split("/").map(encodeURIComponent).join("/")}`,
      target: "_blank", rel: "noopener noreferrer", title: "Opens openrouter.ai in a new tab",
    }, "Its page") : null;
    element.replaceChildren(
      make("div.heading", {}, make("strong", {}, ...nameOf(catalogue, i)), make("code", {}, id), button, star, opener, page),
      facts(catalogue, i), tags(catalogue, i), more,
    );
    drawStar();
    drawMore();
  };
  const drawMore = () => {
    const open = view.isOpen();
    says.textContent = open ? "Less" : "Description and providers";
    opener.setAttribute("aria-expanded", String(open));
    more.hidden = !open;
    const about = model.get("_closer");
    if (!open) return;
    if (about.id !== model.get("_opened")) more.replaceChildren("This comes when the kernel is free.");
    else more.replaceChildren(...closeUp(about, catalogue.inOtherUnit(view.closer()), (text) => { view.status.textContent = text; }));
  };
  return { element, draw, drawMore, drawStar };
}

/** @typedef {{ name: string, tag: string, tier: string | null, prompt: number | null, completion: number | null,
 *   first_token_s: number | null, tokens_per_second: number | null }} Provider */

/**
 * What the kernel tells of one model.
 * @param {{ description: string, providers: Provider[] | null, note: string }} about
 * @param {boolean} other  whether it is billed in another unit than tokens @param {(text: string) => void} say
 */
function closeUp({ description, providers, note }, other, say) {
  const text = make("p", {}, description || "This listing has no description.");
  if (providers === null) return [text, make("p.missing", {}, "Asking for its providers …")];
  say(note || `${providers.length} providers`);
  const heads = ["Provider", "Prompt, $ per M", "Completion, $ per M", "First token, s", "Tokens per s"];
  const price = (/** @type {number | null} */ usdPerMillion) => (other && usdPerMillion === 0 ? null : usdPerMillion);
  /** @param {number | null} value @param {(value: number) => string} write */
  const number = (value, write) => make("td", {}, value === null ? "–" : write(value));
  const table = make("table", { "aria-label": "Providers" },
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...providers.map((one) => make("tr", {},
      make("th", { scope: "row", title: one.tag ?? "" }, one.tier ? `${one.name} (${one.tier})` : one.name),
      number(price(one.prompt), usd), number(price(one.completion), usd),
      number(one.first_token_s, (v) => v.toFixed(2)), number(one.tokens_per_second, (v) => v.toFixed(0))))));
  return [text, providers.length ? make("div.wide", { tabindex: "0", role: "region", "aria-label": "Providers" }, table) : null,
    note ? make("p.missing", {}, note) : null].filter(Boolean);
}

/** @param {Catalogue} catalogue @param {number} i */
function facts(catalogue, i) {
  const list = make("dl");
  /** @param {string} label @param {string | null} text @param {string} [look] */
  const fact = (label, text, look = "") => {
    if (text !== null) list.append(make("div", {}, make("dt", {}, label), make(look ? `dd.${look}` : "dd", {}, text)));
  };
  /** @param {string} key @param {(v: number) => string} write */
  const number = (key, write) => { const value = catalogue.number(key)[i]; return value === null ? null : write(value); };
  const perM = (/** @type {number} */ v) => `$${exact.format(v)}/M`;
  const perMillion = (/** @type {string} */ key) => {
    const [text, look] = priceOf(catalogue, key, i);
    return [text.startsWith("$") ? perM(catalogue.number(key)[i] ?? 0) : text, look];
  };
  fact("Context", number("context_length", (v) => `${whole.format(v)} tokens`) ?? "not listed");
  fact("Max answer", number("max_completion_tokens", (v) => `${whole.format(v)} tokens`));
  const [prompt, promptLook] = perMillion("prompt_usd_per_million");
  const [completion, completionLook] = perMillion("completion_usd_per_million");
  fact("Prompt", prompt, promptLook);
  fact("Completion", completion, completionLook);
  fact("Cache read", number("cache_read_usd_per_million", perM));
  fact("Cache write", number("cache_write_usd_per_million", perM));
  fact("Knowledge to", number("knowledge_cutoff", day));
  fact("Added", number("created", day));
  fact("Goes away", number("expiration_date", day), "warn");
  return list;
}

/** @param {Catalogue} catalogue @param {number} i */
function tags(catalogue, i) {
  const list = make("ul.tags", { "aria-label": "Abilities" });
  const reads = /** @type {string[]} */ (catalogue.word("input_modalities", i) ?? []);
  const writes = /** @type {string[]} */ (catalogue.word("output_modalities", i) ?? []);
  if (reads.length || writes.length) {
    list.append(make("li.flow", {}, `${reads.join(" + ") || "?"} → ${writes.join(" + ") || "?"}`));
  }
  const target = catalogue.word("alias_target", i);
  /** @type {[string, string][]} */
  const flags = [
    ["is_free", "free"], ["tools", "tools"], ["reasoning", "reasoning"], ["structured_outputs", "structured output"],
    ["is_router", "router: chooses a model for you"], ["is_alias", target ? `alias of ${target}` : "alias"],
    ["is_batch", "Batch API, not for chat"], ["is_moderated", "moderated"],
  ];
  for (const [key, label] of flags) {
    if (catalogue.flag(key, i)) list.append(make(key === "is_free" ? "li.free" : "li", {}, label));
  }
  return list;
}

// --- around the list -----------------------------------------------------------------------------------

/** @param {View} view */
function errorBanner(view) {
  const element = make("div.error", { role: "alert", hidden: true });
  const draw = () => {
    const text = view.model.get("error");
    element.hidden = !text;
    const close = make("button.remove", { type: "button", "aria-label": "Dismiss" }, icon(ICONS.cross));
    close.addEventListener("click", () => view.put({ error: "" }));
    element.replaceChildren(make("span", {}, text), close);
  };
  return { element, draw };
}

/** The button that copies the kernel's code: while it is busy, what it has is not yet for these filters. @param {View} view */
function pandasButton(view) {
  const { model } = view;
  const element = make("button.icon-button", { type: "button", title: "Copy the pandas code that gives these rows" },
    icon(ICONS.copy), make("span.says", {}, "Copy pandas"));
  const fresh = () => {
    const code = model.get("_code");
    const same = (/** @type {any} */ a, /** @type {any} */ b) => JSON.stringify(a) === JSON.stringify(b);
    return FILTERS.every((name) => same(code.filters?.[name] ?? null, model.get(name) ?? null)) && same(code.sort, model.get("sort"));
  };
  let waiting = false;
  const copyCode = async () => {
    waiting = !fresh();
    if (waiting) { view.say("The code comes when the kernel is free."); return; }
    await copied(model.get("_code").text);
    view.say("");
    confirm(element, "Copied");
  };
  element.addEventListener("click", copyCode);
  model.on("change:_code", () => { if (waiting && fresh()) copyCode(); });
  return element;
}

/** The last lines. @param {View} view @param {HTMLElement} count */
function foot(view, count) {
  const source = view.model.get("_source");
  const notes = [source.second_ids, ...source.notes ?? []].filter(Boolean);
  return [
    make("div.foot", {},
      count, make("span.dot", { "aria-hidden": "true" }, "·"), make("span", {}, source.date),
      make(source.live ? "span.badge.live" : "span.badge", {}, source.label), pandasButton(view)),
    notes.length ? make("p.notes", {}, notes.join(" ")) : null,
    make("span.unseen", { id: `${view.prefix}-keys` }, "Press down arrow to move into the list, Enter to pick, right arrow for description and providers, Escape to clear."),
    view.status,
  ];
}

/** Let a function run once for all changes of one message (Reset, an assignment in Python). @param {() => void} draw */
const soon = (draw) => {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    queueMicrotask(() => { due = false; draw(); });
  };
};

/**
 * Draw one view.
 * @param {{ model: Model, el: HTMLElement }} context
 * @returns {() => void}
 */
function render({ model, el }) {
  const view = new View(model);
  const [banner, bar, picked, closer] = [errorBanner(view), filterBar(view), pickedBar(view), details(view)];
  const [list, keeps] = [new List(view), keptBar(view)];
  view.chose = () => frame.classList.add("own");
  view.moved = () => { list.drawEntry(); closer.draw(); };
  const frame = make("div.frame", {}, banner.element, ...bar.elements, keeps.element, list.scroller, picked.element,
    closer.element, ...foot(view, list.count));
  frame.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => onKey(view, list, event));
  el.classList.add("ornb-picker");
  el.append(frame);

  const drawHeight = () => frame.style.setProperty("--list-height", `${model.get("height")}px`);
  const drawSort = () => { list.headings.draw(); list.draw(); };
  const drawFilters = () => { bar.draw(); list.headings.draw(); list.draw(); };
  const drawPicked = () => { list.drawPicked(); picked.draw(); closer.draw(); };
  const drawSoon = soon(drawFilters);
  for (const name of FILTERS) model.on(`change:${name}`, drawSoon);
  model.on("change:sort", drawSort);
  model.on("change:columns", () => { bar.draw(); list.drawColumns(); });
  model.on("change:value", drawPicked);
  model.on("change:max_choices", drawPicked);
  model.on("change:_kept", () => { bar.draw(); keeps.draw(); closer.drawStar(); });
  model.on("change:_compares", picked.draw);
  for (const name of ["_opened", "_closer"]) model.on(`change:${name}`, closer.drawMore);
  model.on("change:height", drawHeight);
  model.on("change:error", banner.draw);
  for (const draw of [drawHeight, bar.draw, keeps.draw, () => list.drawColumns(), drawPicked, banner.draw]) draw();
  return () => { clearTimeout(list.announcing); el.replaceChildren(); };
}

export default { render };
