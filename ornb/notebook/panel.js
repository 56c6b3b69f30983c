/**
 * The usage panel in the page: draws the words and shares that the kernel sends, computes nothing.
 *
 * Every trait is a part of the panel, and a part is drawn anew only when its trait has changed.
 * All text goes in through textContent.
 *
 * @typedef {object} Model  anywidget's model
 * @property {(name: string) => any} get
 * @property {(event: string, callback: () => void) => void} on
 * @property {(event: string, callback: () => void) => void} off
 * @property {(content: object) => void} send
 *
 * @typedef {{ name: string, value: string, notes: string[] }} Tile
 * @typedef {{ source: string, calls: string, title: string }} Source
 * @typedef {{ model: string, source: string, status: string, seconds: number | null }} Call
 * @typedef {{ name: string, text: string, spent: number, kept: number, limited: boolean,
 *   low: boolean }} Budget
 * @typedef {{ minute: number[], day: number[], note: string, refusal: string }} FreeCalls
 */

const COLUMNS = {
  model: "Model", source: "Source", calls: "Calls", tokens: "Tokens",
  billed: "Billed", estimated: "Estimated", first: "First token",
};
/** After that long without news the free calls of the minute are other ones. */
const MINUTE_MS = 61_000;

/**
 * @param {string} what  tag and classes: "div.a.b"
 * @param {Record<string, string | boolean | null>} [attributes]
 * @param {...(string | Node | null)} children
 * @returns {any}
 */
const make = (what, attributes = {}, ...children) => {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child !== null) element.append(child);
  return element;
};

const SVG = "http://www.w3.org/2000/svg";
const arrow = () => {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  for (const [name, value] of [["viewBox", "0 0 16 16"], ["aria-hidden", "true"], ["class", "icon"]]) {
    svg.setAttribute(name, value);
  }
  path.setAttribute("d", "M13 8a5 5 0 1 1-1.6-3.7L13 5.8M13 2.6v3.2H9.8");
  svg.append(path);
  return svg;
};

/** @param {string} source  as a class; anything else is not one of ours */
const known = (source) => {
  if (source === "not sent") return "unsent";
  return ["live", "recorded", "local", "canned"].includes(source) ? source : "other";
};

/** @param {string} source @param {string} text @param {string} [title] */
const badge = (source, text, title) =>
  make(`span.badge.${known(source)}`, { title: title ?? null }, text);

/** @param {number | null} seconds */
const inSeconds = (seconds) => (seconds === null ? "no time" : `${seconds.toFixed(2)} s`);

/**
 * The last calls as bars: as high as they waited; failed and stopped ones have a shape of their own.
 * @param {Call[]} calls
 */
function strip(calls) {
  const longest = Math.max(...calls.map(({ seconds }) => seconds ?? 0), 1e-9);
  const bars = calls.map(({ model, source, status, seconds }) => {
    const end = ["error", "stopped"].includes(status) ? status : "ok";
    const bar = make(`span.call.${known(source)}.${end}`, {
      title: [model, source, end === "ok" ? "" : status, inSeconds(seconds)].filter(Boolean).join(", "),
    });
    bar.style.blockSize = seconds === null ? "" : `${Math.max(8, (100 * seconds) / longest)}%`;
    return bar;
  });
  const times = calls.flatMap(({ seconds }) => (seconds === null ? [] : [seconds]));
  const bad = calls.filter(({ status }) => status === "error").length;
  const range = times.length
    ? `${inSeconds(Math.min(...times))} to ${inSeconds(Math.max(...times))}` : "no times";
  return make("div.strip", {
    role: "img",
    "aria-label": `Time to first token of the last ${calls.length} calls: ${range}`
      + (bad ? `, ${bad} failed` : ""),
  }, ...bars);
}

/**
 * A labelled bar of one or two parts.
 * @param {string} label @param {string} text @param {number[]} shares  0 to 1, in their order
 * @param {boolean} low  whether little is left
 */
function meter(label, text, shares, low) {
  const parts = shares.map((share, place) => {
    const part = make(place ? "span.kept" : "span.spent");
    part.style.inlineSize = `${100 * share}%`;
    return part;
  });
  const now = Math.min(100, Math.round(100 * shares.reduce((sum, share) => sum + share, 0)));
  return make(low ? "div.meter.low" : "div.meter", {
    role: "meter", "aria-label": label, "aria-valuetext": text,
    "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(now),
  }, ...parts);
}

/** @param {Budget} budget */
const budgetElement = ({ name, text, spent, kept, limited, low }) =>
  make("div.gauge", {},
    make("span.label", {}, name),
    limited ? meter(name, text, [spent, kept], low) : null,
    make("span.text", {}, text));

/** @param {FreeCalls} free */
function freeElements({ minute, day, note, refusal }) {
  const gauge = (/** @type {number[]} */ [used, limit], /** @type {string} */ when) => {
    const text = `${used.toLocaleString("en")} of ${limit.toLocaleString("en")} ${when}`;
    const share = limit ? Math.min(1, used / limit) : 1;
    return make("div.free", {},
      meter(`Free calls ${when}`, text, [share], share > 0.9), make("span.text", {}, text));
  };
  return [
    make("div.gauge", {},
      make("span.label", {}, "Free calls"),
      make("div.pair", {}, gauge(minute, "this minute"), gauge(day, "today")),
      make("span.text", {}, note)),
    refusal ? make("p.refusal", {}, refusal) : null,
  ].filter((one) => one !== null);
}

/** @param {{ rows: Record<string, string>[], more: number }} models */
function tableElements({ rows, more }) {
  const head = make("tr", {}, ...Object.entries(COLUMNS).map(([key, name]) =>
    make(`th.${key}`, { scope: "col" }, name)));
  const cell = (/** @type {Record<string, string>} */ row, /** @type {string} */ key) => {
    if (key === "model") return make("th.model", { scope: "row", title: row.model }, row.model);
    if (key === "source") return make("td.source", {}, badge(row.source, row.source));
    const ends = key === "calls" && row.ends ? make("span.ends", {}, row.ends) : null;
    return make(`td.${key}`, {}, row[key], ends);
  };
  const body = rows.map((row) =>
    make("tr", {}, ...Object.keys(COLUMNS).map((key) => cell(row, key))));
  return [
    make("table", {},
      make("caption.unseen", {}, "Usage by model"),
      make("thead", {}, head), make("tbody", {}, ...body)),
    more ? make("p.more", {}, `and ${more.toLocaleString("en")} more: `,
      make("code", {}, "ornb.usage.summary()")) : null,
  ].filter((one) => one !== null);
}

/** Hide the ordinary output of this panel for as long as the live one is shown. @param {string} id */
function hideStatic(id) {
  const style = make("style", {},
    `.jp-OutputArea-child:has(.ornb-static-${id}), .ornb-static-${id} { display: none }`);
  document.head.append(style);
  return () => style.remove();
}

/**
 * Draw one view.
 * @param {{ model: Model, el: HTMLElement }} context
 * @returns {() => void}
 */
function render({ model, el }) {
  const sources = make("span.sources");
  const time = make("time.time");
  const again = make("button.again", {
    type: "button", "aria-label": "Count again",
    title: "Count again, and ask the key for its limits of free calls",
  }, arrow());
  const trouble = make("p.trouble", { role: "alert", hidden: true });
  const empty = make("p.empty", {}, "What this kernel asks is counted here, call by call.");
  const tiles = make("dl.tiles");
  const gauges = make("div.gauges");
  const table = make("div.table", { role: "region", "aria-label": "By model", tabindex: "0" });
  const frame = make("section.frame", { "aria-label": "Usage" },
    make("header", {}, make("span.title", {}, "Usage"), sources, time, again),
    trouble, tiles, empty, gauges, table);

  const drawTop = () => {
    const listed = /** @type {Source[]} */ (model.get("sources"));
    sources.replaceChildren(...listed.map(({ source, calls, title }) =>
      badge(source, `${calls} ${source}`, title)));
    empty.hidden = listed.length > 0;
  };
  const drawTime = () => {
    const at = model.get("updated_at");
    time.dateTime = at;
    time.title = at;
    time.textContent = at ? `Updated ${new Date(at).toLocaleTimeString()}` : "";
  };
  const drawTiles = () => {
    const calls = /** @type {Call[]} */ (model.get("latest"));
    const listed = /** @type {Tile[]} */ (model.get("tiles"));
    tiles.replaceChildren(...listed.map(({ name, value, notes }) =>
      make("div.tile", {},
        make("dt", {}, name),
        make("dd.value", {}, value),
        ...notes.map((note) => make("dd.note", {}, note)),
        name === "First token" && calls.length ? make("dd.last", {}, strip(calls)) : null)));
  };
  const drawGauges = () => {
    const budgets = /** @type {Budget[]} */ (model.get("budgets"));
    const free = /** @type {FreeCalls} */ (model.get("free_calls"));
    const counted = Boolean(free.minute);
    const hint = counted && !budgets.length
      ? make("div.gauge", {}, make("span.label", {}, "Budget"),
        make("span.text", {}, "none; ", make("code", {}, "ornb.budget(2.00)"), " sets a ceiling"))
      : null;
    gauges.replaceChildren(...budgets.map(budgetElement), ...(hint ? [hint] : []),
      ...(counted ? freeElements(free) : []));
    gauges.hidden = !gauges.childElementCount;
  };
  const drawTable = () => {
    const models = model.get("models");
    table.hidden = !models.rows?.length;
    if (!table.hidden) table.replaceChildren(...tableElements(models));
  };
  const drawTrouble = () => {
    const error = model.get("error");
    if (trouble.textContent !== error) trouble.textContent = error;
    trouble.hidden = !error;
  };

  let timer = 0;
  /** The minute passes without any news of the kernel's: then it is asked to count again. */
  const wait = () => {
    clearTimeout(timer);
    if (model.get("free_calls").minute?.[0]) {
      timer = setTimeout(() => model.send({ type: "look" }), MINUTE_MS);
    }
  };

  /** @type {[string[], () => void][]} */
  const parts = [
    [["sources"], drawTop],
    [["updated_at"], drawTime],
    [["tiles", "latest"], drawTiles],
    [["budgets", "free_calls"], drawGauges],
    [["models"], drawTable],
    [["error"], drawTrouble],
    [["free_calls", "updated_at"], wait],
  ];
  /** @type {Set<() => void>} */
  const due = new Set();
  let frameRequest = 0;
  const drawDue = () => {
    frameRequest = 0;
    for (const draw of due) draw();
    due.clear();
  };
  const listeners = parts.flatMap(([names, draw]) => names.map((name) => {
    const changed = () => {
      due.add(draw);
      frameRequest ||= requestAnimationFrame(drawDue);
    };
    return /** @type {[string, () => void]} */ ([`change:${name}`, changed]);
  }));
  for (const [event, changed] of listeners) model.on(event, changed);
  again.addEventListener("click", () => model.send({ type: "refresh" }));

  const reveal = hideStatic(model.get("_panel_id"));
  el.classList.add("ornb-panel");
  el.dataset.lmSuppressShortcuts = "true";   // JupyterLab: keys typed here are not its shortcuts
  el.append(frame);
  for (const [, draw] of parts) draw();
  return () => {
    for (const [event, changed] of listeners) model.off(event, changed);
    cancelAnimationFrame(frameRequest);
    clearTimeout(timer);
    reveal();
    el.replaceChildren();
  };
}

export default { render };
