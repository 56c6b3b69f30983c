/**
 * ModelPicker in the page: search, filter, sort and pick without asking the kernel.
 *
 * The catalogue arrives once, as flat columns. Each key press walks one ready-made order of the rows
 * and shows the first 200 that match; a row's elements are made when it is first shown, and kept.
 * All text of the catalogue goes in through textContent.
 *
 * @typedef {object} Model  anywidget's model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, callback: () => void) => void} on
 *
 * @typedef {object} Coded  a column of few distinct values
 * @property {(string | string[] | null)[]} legend
 * @property {number[]} codes
 *
 * @typedef {object} Table  the columns as Python sends them; prices in USD per million tokens
 * @property {string[]} id
 * @property {string[]} name
 * @property {Record<string, (number | null)[]>} numbers  dates among them, in Unix seconds
 * @property {Record<string, (number | null)[]>} ranks    places of text in alphabetical order
 * @property {Record<string, (0 | 1)[]>} flags
 * @property {Record<string, Coded>} words
 *
 * @typedef {Record<string, any>} Filters
 * @typedef {{ key: string, label: string, unit: string, kind: string }} Column
 */

import { copied, icon, make } from "./elements.js";

const MOST_ROWS = 200;

const FILTERS = [
  "search", "free", "min_context", "accepts", "returns", "parameters", "tools", "reasoning",
  "structured_outputs", "max_prompt_usd_per_million", "max_completion_usd_per_million", "family",
  "author", "routers", "aliases", "batch",
];

/** Filters that ask for a flag (true), for its absence (false), or not at all (null). */
const ASKED_FLAGS = {
  free: "is_free", tools: "tools", reasoning: "reasoning", structured_outputs: "structured_outputs",
};
/** Kinds of rows that are left out unless their filter is true. */
const KINDS = { routers: "is_router", aliases: "is_alias", batch: "is_batch" };
/** Lists of which a row must have all. */
const ALL_OF = {
  accepts: "input_modalities", returns: "output_modalities", parameters: "supported_parameters",
};

/**
 * The chips: a flag by filter name, or a modality that must be accepted.
 * @type {{ label: string, hint: string, filter?: string, accepts?: string }[]}
 */
const CHIPS = [
  { filter: "free", label: "Free", hint: "Free text models" },
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

// --- how values are written ----------------------------------------------------------------------

const whole = new Intl.NumberFormat("en-US");
const dollars = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const cents = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const exact = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 8 });
const few = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 2 });
const three = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });

/** 128000 and 131072 are both "128k", as people say it. @param {number} count */
const tokens = (count) => {
  for (const base of [1000, 1024]) {
    if (count % base === 0) {
      const thousands = count / base;
      return thousands >= base ? `${three.format(thousands / base)}M` : `${thousands}k`;
    }
  }
  return whole.format(count);
};

/** @param {number} price */
const usd = (price) => {
  if (price === 0) return "$0";
  if (price >= 1) return `$${dollars.format(price)}`;
  return `$${price < 0.00005 ? few.format(price) : cents.format(price)}`;
};

/** @param {number} seconds */
const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

/** @type {Record<string, (value: number) => string>} */
const WRITE = { tokens, usd, date: day, points: (value) => value.toFixed(1) };

/** Python's casefold, near enough that a word finds what it finds there. @param {string} text */
const fold = (text) => text.toUpperCase().toLowerCase().replaceAll("ς", "σ");

// --- the catalogue ---------------------------------------------------------------------------------

/** The rows, and which of them meet the filters, in order. */
export class Catalogue {
  /** @param {Table} table */
  constructor(table) {
    this.table = table;
    this.size = table.id?.length ?? 0;
    this.texts = Array.from({ length: this.size }, (_, i) => fold(`${table.id[i]}\n${table.name[i]}`));
    /** @type {Map<string, number>} */
    this.rowOf = new Map((table.id ?? []).map((id, i) => [id, i]));
    /** @type {Map<string, number[]>} */
    this.orders = new Map();
  }

  /** @param {string} key */
  number(key) { return this.table.numbers[key]; }

  /** @param {string} key @param {number} i */
  flag(key, i) { return this.table.flags[key][i] === 1; }

  /** @param {string} key @param {number} i */
  word(key, i) { const { legend, codes } = this.table.words[key]; return legend[codes[i]]; }

  /** All rows in one order: ties as listed, missing values last. @param {string} key @param {boolean} up */
  order(key, up) {
    const name = `${key} ${up}`;
    let order = this.orders.get(name);
    if (!order) {
      const values = this.table.ranks[key] ?? this.table.numbers[key];
      const sign = up ? 1 : -1;
      order = Array.from({ length: this.size }, (_, i) => i).sort((a, b) => {
        const [x, y] = [values[a], values[b]];
        if (x === null || y === null) return (x === null ? 1 : 0) - (y === null ? 1 : 0);
        return sign * (x - y);
      });
      this.orders.set(name, order);
    }
    return order;
  }

  /** One function a filter that is set. @param {Filters} filters @returns {((i: number) => boolean)[]} */
  tests(filters) {
    const { numbers, flags, words } = this.table;
    /** @type {((i: number) => boolean)[]} */
    const tests = [];
    for (const [name, column] of Object.entries(KINDS)) {
      if (!filters[name]) tests.push((i) => flags[column][i] === 0);
    }
    for (const [name, column] of Object.entries(ASKED_FLAGS)) {
      if (filters[name] === null) continue;
      const wanted = filters[name] ? 1 : 0;
      tests.push((i) => flags[column][i] === wanted);
    }
    for (const [name, column] of Object.entries(ALL_OF)) {
      if (!filters[name]) continue;
      const { legend, codes } = words[column];
      const good = legend.map((listed) => filters[name].every((/** @type {string} */ one) => listed?.includes(one)));
      tests.push((i) => good[codes[i]]);
    }
    for (const name of ["family", "author"]) {
      if (!filters[name]) continue;
      const wanted = new Set(filters[name].map(fold));
      const { legend, codes } = words[name];
      const good = legend.map((one) => one !== null && wanted.has(fold(String(one))));
      tests.push((i) => good[codes[i]]);
    }
    for (const column of ["prompt_usd_per_million", "completion_usd_per_million"]) {
      const most = filters[`max_${column}`];
      const values = numbers[column];
      if (most !== null) tests.push((i) => values[i] !== null && values[i] <= most);
    }
    const context = numbers.context_length;
    const least = filters.min_context;
    if (least !== null) tests.push((i) => context[i] !== null && context[i] >= least);
    for (const word of fold(filters.search).split(/\s+/).filter(Boolean)) {
      tests.push((i) => this.texts[i].includes(word));
    }
    return tests;
  }

  /** @param {Filters} filters @param {[string, boolean]} sort */
  matches(filters, [key, up]) {
    const tests = this.tests(filters);
    return this.order(key, up).filter((i) => tests.every((test) => test(i)));
  }

  /** Columns that a filter asks for, and the server tells of no model. @param {Filters} filters */
  untold(filters) {
    return Object.entries(this.table.numbers).flatMap(([column, values]) => {
      const asked = column === "context_length" ? filters.min_context : filters[`max_${column}`] ?? null;
      return asked !== null && values.every((value) => value === null) ? [column] : [];
    });
  }
}

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

/**
 * Draw one view.
 * @param {{ model: Model, el: HTMLElement }} context
 * @returns {() => void}
 */
function render({ model, el }) {
  const multiple = Boolean(model.get("multiple"));
  /** @type {Column[]} */
  const columns = model.get("_columns");
  const catalogue = new Catalogue(model.get("_table"));
  const prefix = `ornb-picker-${Math.random().toString(36).slice(2)}`;
  /** @type {number[]} */ let shown = [];
  let active = -1;                                    // row the keyboard is on, by its place in the table
  let announcing = 0;

  // What the person does becomes a trait first; the traits' changes draw (so all views agree).
  /** @param {Record<string, any>} changes */
  const put = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const filters = () => Object.fromEntries(FILTERS.map((name) => [name, model.get(name)]));
  /** @returns {string[]} */
  const picked = () => { const value = model.get("value"); return value === null ? [] : [].concat(value); };

  // --- controls
  const search = /** @type {HTMLInputElement} */ (make("input.search", {
    type: "search", placeholder: "Search models", "aria-label": "Search models", autocomplete: "off",
    spellcheck: false, "aria-controls": `${prefix}-grid`, "aria-describedby": `${prefix}-keys`,
  }));
  search.addEventListener("input", () => put({ search: search.value }));

  const chips = CHIPS.map((chip) => {
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
        put({ accepts: accepts.length ? accepts : null });
      } else if (chip.filter === "batch") put({ batch: !has() });
      else put({ [String(chip.filter)]: has() === null ? true : null });
    });
    const draw = () => {
      const refused = has() === false && chip.filter && chip.filter !== "batch";
      label.textContent = refused ? `Not ${chip.label.toLowerCase()}` : chip.label;
      button.setAttribute("aria-pressed", String(Boolean(has()) || Boolean(refused)));
    };
    return { button, draw };
  });

  /**
   * A select over one numeric filter; a value set from Python that is not among the steps is added.
   * @param {string} name @param {string} label @param {string} any @param {number[]} steps @param {(v: number) => string} write
   */
  const stepper = (name, label, any, steps, write) => {
    const select = /** @type {HTMLSelectElement} */ (make("select", { "aria-label": label, title: label }));
    select.addEventListener("change", () => put({ [name]: select.value === "" ? null : Number(select.value) }));
    const draw = () => {
      const value = model.get(name);
      const values = value === null || steps.includes(value) ? steps : [...steps, value].sort((a, b) => a - b);
      select.replaceChildren(
        make("option", { value: "" }, any),
        ...values.map((one) => make("option", { value: String(one) }, write(one))),
      );
      select.value = value === null ? "" : String(value);
      select.classList.toggle("set", value !== null);
    };
    return { select, draw };
  };
  const context = stepper("min_context", "Context length, at least", "Any context", CONTEXTS, (v) => `≥ ${tokens(v)} tokens`);
  const price = stepper(
    "max_completion_usd_per_million", "Price of a million completion tokens, at most", "Any price", PRICES,
    (v) => (v === 0 ? "$0 per M" : `≤ ${usd(v)} per M`),
  );
  const extras = make("span.extras");                 // filters without a control of their own
  const reset = make("button.link", { type: "button" }, "Reset");
  reset.addEventListener("click", () => {
    const none = Object.fromEntries(FILTERS.map((name) => [name, null]));
    put({ ...none, search: "", routers: true, aliases: true, batch: false });
    search.focus();
  });

  const drawExtras = () => {
    /** @type {[string, Record<string, any>][]} */
    const set = [];
    for (const name of ["accepts", "returns", "parameters", "family", "author"]) {
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
    extras.replaceChildren(...set.map(([label, off]) => {
      const button = make("button.chip.extra", { type: "button", "aria-label": `Remove filter: ${label}` },
        make("span", {}, label), icon(ICONS.cross));
      button.addEventListener("click", () => { put(off); search.focus(); });
      return button;
    }));
    const now = filters();
    reset.hidden = !(now.search || now.batch || set.length || Object.keys(ASKED_FLAGS).some((n) => now[n] !== null)
      || now.accepts || now.min_context !== null || now.max_completion_usd_per_million !== null);
  };

  // --- the list
  const heads = columns.map((column) => {
    const button = make("button", { type: "button", title: `Sort by ${column.label.toLowerCase()}` },
      make("span.label", {}, column.label, make("span.arrow", { "aria-hidden": "true" })),
      column.unit ? make("span.unit", {}, column.unit) : null);
    const head = make(`div.cell.${column.kind}`, { role: "columnheader", "data-key": column.key }, button);
    button.addEventListener("click", () => {
      const [key, up] = model.get("sort");
      const first = column.kind === "text" || column.kind === "usd";   // cheap and A first; big and new first
      put({ sort: [column.key, key === column.key ? !up : first] });
    });
    return { column, head };
  });
  const body = make("div.rows", { role: "rowgroup" });
  const grid = make("div.grid", {
    role: "grid", id: `${prefix}-grid`, "aria-label": "Models", "aria-multiselectable": multiple ? "true" : null,
  }, make("div.headrow", { role: "rowgroup" }, make("div.row.head", { role: "row", "aria-rowindex": "1" }, ...heads.map(({ head }) => head))), body);
  const more = make("p.more");
  const scroller = make("div.scroller", {}, grid, more);

  /** @type {Map<number, HTMLElement>} */
  const rows = new Map();
  const best = Object.fromEntries(columns.filter(({ kind }) => kind === "points").map(({ key }) => [
    key, Math.max(1, ...catalogue.number(key).map((value) => value ?? 0)),
  ]));

  /** @param {number} i */
  const nameOf = (i) => {
    const name = catalogue.table.name[i];
    const cut = name.indexOf(": ");                   // "Maker: Model", usually
    return cut < 0 ? [name] : [make("span.maker", {}, name.slice(0, cut + 2)), name.slice(cut + 2)];
  };

  /** What a price cell says: a router has no price of its own. @param {string} key @param {number} i */
  const priceOf = (key, i) => {
    const value = catalogue.number(key)[i];
    if (catalogue.flag("is_free", i) && value === 0) return ["free", "free"];
    if (value === null) return catalogue.flag("is_router", i) ? ["varies", "missing"] : ["–", "missing"];
    return [usd(value), ""];
  };

  /** @param {Column} column @param {number} i */
  const cell = ({ key, kind }, i) => {
    if (key === "name") {
      return make("div.cell.text.name", { role: "gridcell", "data-key": key },
        make("span.mark", { "aria-hidden": "true" }, icon(ICONS.tick)),
        make("span.names", {},
          make("span.title", { title: catalogue.table.name[i] }, ...nameOf(i)),
          make("span.id", {}, catalogue.table.id[i])));
    }
    const attributes = { role: "gridcell", "data-key": key };
    if (kind === "text") return make("div.cell.text", attributes, String(catalogue.word(key, i) ?? "–"));
    if (kind === "usd") {
      const [text, look] = priceOf(key, i);
      return make(`div.cell.usd`, attributes, make(look ? `span.${look}` : "span", {}, text));
    }
    const value = catalogue.number(key)[i];
    if (value === null) return make(`div.cell.${kind}`, attributes, make("span.missing", {}, "–"));
    const made = make(`div.cell.${kind}`, attributes, make("span", {}, WRITE[kind](value)));
    if (kind === "tokens") made.title = `${whole.format(value)} tokens`;
    if (kind === "points") made.style.setProperty("--share", String(value / best[key]));
    return made;
  };

  /** @param {number} i @returns {HTMLElement} */
  const row = (i) => {
    const known = rows.get(i);
    if (known) return known;
    /** @type {HTMLElement} */
    const made = make("div.row", { role: "row", tabindex: "-1", "data-row": String(i), "aria-selected": "false" },
      ...columns.map((column) => cell(column, i)));
    rows.set(i, made);
    return made;
  };

  /** The row that Tab reaches. */
  const entry = () => (shown.includes(active) ? active : shown[0] ?? -1);
  let tabbable = -1;
  const drawEntry = () => {
    if (tabbable >= 0) rows.get(tabbable)?.setAttribute("tabindex", "-1");
    tabbable = entry();
    rows.get(tabbable)?.setAttribute("tabindex", "0");
  };

  const drawRows = () => {
    const matches = catalogue.matches(filters(), model.get("sort"));
    const next = matches.slice(0, MOST_ROWS);
    if (next.length !== shown.length || next.some((i, at) => i !== shown[at])) {
      const hadFocus = body.contains(document.activeElement);
      shown = next;
      body.replaceChildren(...shown.map(row));
      shown.forEach((i, at) => row(i).setAttribute("aria-rowindex", String(at + 2)));
      body.hidden = shown.length === 0;               // a group of no rows is none
      scroller.scrollTop = 0;
      if (hadFocus) (shown.includes(active) ? row(active) : search).focus({ preventScroll: true });
    }
    const hidden = matches.length - shown.length;
    const untold = matches.length ? "" : catalogue.untold(filters()).join(" and ");
    more.hidden = hidden === 0 && matches.length > 0;
    more.textContent = hidden ? `and ${whole.format(hidden)} more: type to narrow`
      : `No model matches${untold ? `: this server tells ${untold} of none` : ""}. Remove a filter or a word.`;
    grid.setAttribute("aria-rowcount", String(matches.length + 1));
    count.replaceChildren(make("b", {}, whole.format(matches.length)), ` of ${whole.format(catalogue.size)} models`);
    drawEntry();
    clearTimeout(announcing);                         // once, when the typing rests
    announcing = setTimeout(() => { status.textContent = `${matches.length} of ${catalogue.size} models`; }, 500);
  };

  const drawSort = () => {
    const [key, up] = model.get("sort");
    for (const { column, head } of heads) {
      if (column.key === key) head.setAttribute("aria-sort", up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  };

  // --- choosing
  /** @param {number} i */
  const pick = (i) => {
    const id = catalogue.table.id[i];
    if (!multiple) { put({ value: id }); return; }
    const now = picked();
    if (now.includes(id)) { put({ value: now.filter((one) => one !== id) }); return; }
    const most = model.get("max_choices");
    if (most !== null && now.length >= most) {
      say(`${most} picked, which is the most. Remove one first.`);
      return;
    }
    put({ value: [...now, id] });
  };

  /** @param {string} text */
  const say = (text) => { notice.textContent = text; status.textContent = text; };

  /** @type {Set<number | undefined>} */
  let marked = new Set();
  const drawPicked = () => {
    const ids = picked();
    const now = new Set(ids.map((id) => catalogue.rowOf.get(id)));
    for (const i of marked) if (i !== undefined && !now.has(i)) row(i).setAttribute("aria-selected", "false");
    for (const i of now) if (i !== undefined) row(i).setAttribute("aria-selected", "true");
    marked = now;
    notice.textContent = "";
    const most = model.get("max_choices");
    chosen.replaceChildren(
      make("span.lead", {}, ids.length ? (multiple ? `Picked ${ids.length}${most === null ? "" : ` of ${most}`}` : "Picked")
        : "Nothing picked yet. Click a model, or press ↓ and Enter."),
      ...ids.map((id) => {
        const i = catalogue.rowOf.get(id) ?? -1;
        const off = make("button.remove", { type: "button", "aria-label": `Remove ${id}`, title: "Remove" }, icon(ICONS.cross));
        off.addEventListener("click", (/** @type {Event} */ event) => {
          event.stopPropagation();
          put({ value: multiple ? picked().filter((one) => one !== id) : null });
          search.focus({ preventScroll: true });
        });
        const look = make("button.look", { type: "button", title: `Show ${id}` }, i < 0 ? id : catalogue.table.name[i]);
        look.addEventListener("click", () => { active = i; drawEntry(); drawDetails(); });
        return make("span.pick", {}, look, off);
      }),
      notice,
    );
    drawDetails();
  };

  // --- one model, closer
  const drawDetails = () => {
    const i = active >= 0 ? active : catalogue.rowOf.get(picked().at(-1) ?? "") ?? -1;
    if (i < 0) {
      details.hidden = true;
      return;
    }
    details.hidden = false;
    const { id } = catalogue.table;
    const button = make("button.icon-button", { type: "button", "aria-label": `Copy id ${id[i]}`, title: "Copy id" },
      icon(ICONS.copy), make("span.says", {}, "Copy id"));
    button.addEventListener("click", async () => { await copied(id[i]); confirm(button, "Copied"); });
    details.replaceChildren(
      make("div.heading", {}, make("strong", {}, ...nameOf(i)), make("code", {}, id[i]), button),
      facts(i), tags(i),
    );
  };

  /** @param {number} i */
  const facts = (i) => {
    const list = make("dl");
    /** @param {string} label @param {string | null} text @param {string} [look] */
    const fact = (label, text, look = "") => {
      if (text !== null) list.append(make("div", {}, make("dt", {}, label), make(look ? `dd.${look}` : "dd", {}, text)));
    };
    /** @param {string} key @param {(v: number) => string} write */
    const number = (key, write) => { const value = catalogue.number(key)[i]; return value === null ? null : write(value); };
    const perM = (/** @type {number} */ v) => `$${exact.format(v)}/M`;
    const perMillion = (/** @type {string} */ key) => {
      const [text, look] = priceOf(key, i);
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
  };

  /** @param {number} i */
  const tags = (i) => {
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
  };

  // --- around the list
  const source = model.get("_source");
  const status = make("span.unseen", { role: "status" });
  const notice = make("span.notice");
  const count = make("span.count");
  const chosen = make("div.chosen", { role: "group", "aria-label": "Picked models" });
  const details = make("div.details", { role: "group", "aria-label": "Details" });
  const banner = make("div.error", { role: "alert", hidden: true });
  const drawError = () => {
    const text = model.get("error");
    banner.hidden = !text;
    const close = make("button.remove", { type: "button", "aria-label": "Dismiss" }, icon(ICONS.cross));
    close.addEventListener("click", () => put({ error: "" }));
    banner.replaceChildren(make("span", {}, text), close);
  };

  const pandas = make("button.icon-button", { type: "button", title: "Copy the pandas code that gives these rows" },
    icon(ICONS.copy), make("span.says", {}, "Copy pandas"));
  /** The code is the kernel's; while it is busy, what it has is not yet for these filters. */
  const fresh = () => {
    const code = model.get("_code");
    const same = (/** @type {any} */ a, /** @type {any} */ b) => JSON.stringify(a) === JSON.stringify(b);
    return FILTERS.every((name) => same(code.filters?.[name] ?? null, model.get(name) ?? null)) && same(code.sort, model.get("sort"));
  };
  let waiting = false;
  const copyCode = async () => {
    waiting = !fresh();
    if (waiting) { say("The code comes when the kernel is free."); return; }
    await copied(model.get("_code").text);
    say("");
    confirm(pandas, "Copied");
  };
  pandas.addEventListener("click", copyCode);

  // --- keys
  /** @param {number} at  place among the rows shown */
  const go = (at) => {
    if (!shown.length) return;
    active = shown[Math.max(0, Math.min(shown.length - 1, at))];
    const target = row(active);
    target.focus({ preventScroll: true });            // the list scrolls, the notebook stays
    const top = target.offsetTop - /** @type {HTMLElement} */ (grid.firstElementChild).offsetHeight;
    const bottom = target.offsetTop + target.offsetHeight - scroller.clientHeight;
    if (at <= 0) scroller.scrollTop = 0;
    else if (scroller.scrollTop > top) scroller.scrollTop = top;
    else if (scroller.scrollTop < bottom) scroller.scrollTop = bottom;
  };

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was ours */
  const listKey = (event) => {
    const at = shown.indexOf(active);
    const page = Math.max(1, Math.floor(scroller.clientHeight / (row(shown[0]).offsetHeight || 44)) - 1);
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => (at <= 0 ? search.focus() : go(at - 1)),
      PageDown: () => go(at + page),
      PageUp: () => go(at - page),
      Home: () => go(0),
      End: () => go(shown.length - 1),
      Enter: () => pick(active),
      " ": () => pick(active),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return false;
    keys[event.key]();
    return true;
  };

  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    const save = (event.ctrlKey || event.metaKey) && event.key === "s";
    if (!save) event.stopPropagation();               // JupyterLab's shortcuts: dd deletes the cell
    const inSearch = event.target === search;
    const inList = body.contains(/** @type {Node} */ (event.target));
    if (event.key === "Escape" && (inSearch || inList)) {
      event.preventDefault();
      put({ search: "" });
      search.focus();
    } else if (inSearch && event.key === "ArrowDown") {
      event.preventDefault();
      go(Math.max(0, shown.indexOf(active)));
    } else if (inList && shown.length && listKey(event)) {
      event.preventDefault();
    } else if (inList && (event.key.length === 1 || event.key === "Backspace") && !event.ctrlKey && !event.metaKey && !event.altKey) {
      search.focus();                                 // the key itself lands in the box
    }
  };
  body.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const clicked = /** @type {HTMLElement} */ (event.target).closest("[data-row]");
    if (!clicked) return;
    active = Number(/** @type {HTMLElement} */ (clicked).dataset.row);
    drawEntry();
    pick(active);
    drawDetails();
  });
  body.addEventListener("focusin", (/** @type {FocusEvent} */ event) => {
    active = Number(/** @type {HTMLElement} */ (event.target).dataset.row);
    drawEntry();
    drawDetails();
  });

  // --- put together
  const drawFilters = () => {
    const text = model.get("search");
    if (search.value !== text) search.value = text;
    for (const chip of chips) chip.draw();
    context.draw();
    price.draw();
    drawExtras();
    drawRows();
  };
  const drawHeight = () => frame.style.setProperty("--list-height", `${model.get("height")}px`);

  const frame = make("div.frame", {},
    banner,
    make("div.bar", {},
      make("label.searchbox", {}, icon(ICONS.search), search), context.select, price.select),
    make("div.chips", { role: "group", "aria-label": "Filters" }, ...chips.map(({ button }) => button), extras, reset),
    scroller, chosen, details,
    make("div.foot", {},
      count, make("span.dot", { "aria-hidden": "true" }, "·"), make("span", {}, source.date),
      make(source.live ? "span.badge.live" : "span.badge", {}, source.label), pandas),
    source.notes?.length ? make("p.notes", {}, source.notes.join(" ")) : null,
    make("span.unseen", { id: `${prefix}-keys` }, "Press down arrow to move into the list, Enter to pick, Escape to clear."),
    status,
  );
  frame.addEventListener("keydown", onKey);
  el.classList.add("ornb-picker");
  el.append(frame);

  for (const name of FILTERS) model.on(`change:${name}`, drawSoon);
  model.on("change:sort", () => { drawSort(); drawRows(); });
  model.on("change:value", drawPicked);
  model.on("change:max_choices", drawPicked);
  model.on("change:height", drawHeight);
  model.on("change:error", drawError);
  model.on("change:_code", () => { if (waiting && fresh()) copyCode(); });

  // Several filters can change in one message (Reset, an assignment in Python): draw once for all.
  let due = false;
  function drawSoon() {
    if (due) return;
    due = true;
    queueMicrotask(() => { due = false; drawFilters(); });
  }

  drawHeight();
  drawSort();
  drawFilters();
  drawPicked();
  drawError();
  return () => { clearTimeout(announcing); el.replaceChildren(); };
}

export default { render };
