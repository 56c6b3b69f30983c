/**
 * The usage panel in the page: draws the words and shares that the kernel sends, computes nothing.
 *
 * Every trait is a part of the panel, and a part is drawn anew only when its trait has changed.
 * All text goes in through textContent.
 *
 * @typedef {import("./kernel.js").Model} Model
 * @typedef {{ name: string, value: string, notes: string[] }} Tile
 * @typedef {{ source: string, calls: string, title: string }} Source
 * @typedef {{ model: string, source: string, status: string, seconds: number | null }} Call
 * @typedef {{ name: string, text: string, spent: number, kept: number, limited: boolean,
 *   low: boolean }} Budget
 * @typedef {{ minute: number[], day: number[], note: string, refusal: string }} FreeCalls
 *
 * @typedef {{ traits: string[], draw: () => void }} Part  of the panel, and what it shows
 */

import { hideStatic, icon, make, setText } from "./elements.js";

const COLUMNS = {
  model: "Model", source: "Source", calls: "Calls", tokens: "Tokens",
  billed: "Billed", estimated: "Estimated", first: "First token",
};
/** After that long without news the free calls of the minute are other ones. */
const MINUTE_MS = 61_000;

const ARROW = "M13 8a5 5 0 1 1-1.6-3.7L13 5.8M13 2.6v3.2H9.8";

/** @param {string} source  as a class; anything else is not one of ours */
const known = (source) => {
  if (source === "not sent") return "unsent";
  return ["live", "recorded", "local", "canned"].includes(source) ? source : "other";
};

/** @param {string} source @param {string} text @param {string} [title] */
const badge = (source, text, title) =>
  make(`span.badge.${known(source)}`, title === undefined ? {} : { title }, text);

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

/** @param {{ rows: Record<string, string>[], more: number, engines: string }} models */
function tableElements({ rows, more, engines }) {
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
    engines ? make("p.more", {}, engines) : null,
  ].filter((one) => one !== null);
}

// --- the parts -----------------------------------------------------------------------------------

/** Where the calls went; and what is said while there are none. @param {Model} model */
function sourcesPart(model) {
  const element = make("span.sources");
  const empty = make("p.empty", {}, "What this kernel asks is counted here, call by call.");
  const draw = () => {
    const listed = /** @type {Source[]} */ (model.get("sources"));
    element.replaceChildren(...listed.map(({ source, calls, title }) =>
      badge(source, `${calls} ${source}`, title)));
    empty.hidden = listed.length > 0;
  };
  return { element, empty, traits: ["sources"], draw };
}

/** @param {Model} model */
function timePart(model) {
  const element = make("time.time");
  const draw = () => {
    const at = model.get("updated_at");
    element.dateTime = at;
    element.title = at;
    element.textContent = at ? `Updated ${new Date(at).toLocaleTimeString()}` : "";
  };
  return { element, traits: ["updated_at"], draw };
}

/** @param {Model} model */
function tilesPart(model) {
  const element = make("dl.tiles");
  const draw = () => {
    const calls = /** @type {Call[]} */ (model.get("latest"));
    const listed = /** @type {Tile[]} */ (model.get("tiles"));
    element.replaceChildren(...listed.map(({ name, value, notes }) =>
      make("div.tile", {},
        make("dt", {}, name),
        make("dd.value", {}, value),
        ...notes.map((note) => make("dd.note", {}, note)),
        name === "First token" && calls.length ? make("dd.last", {}, strip(calls)) : null)));
  };
  return { element, traits: ["tiles", "latest"], draw };
}

/** Budgets and free calls. @param {Model} model */
function gaugesPart(model) {
  const element = make("div.gauges");
  const draw = () => {
    const budgets = /** @type {Budget[]} */ (model.get("budgets"));
    const free = /** @type {FreeCalls} */ (model.get("free_calls"));
    const counted = Boolean(free.minute);
    const hint = counted && !budgets.length
      ? make("div.gauge", {}, make("span.label", {}, "Budget"),
        make("span.text", {}, "none; ", make("code", {}, "ornb.budget(2.00)"), " sets a ceiling"))
      : null;
    element.replaceChildren(...budgets.map(budgetElement), ...(hint ? [hint] : []),
      ...(counted ? freeElements(free) : []));
    element.hidden = !element.childElementCount;
  };
  return { element, traits: ["budgets", "free_calls"], draw };
}

/** @param {Model} model */
function tablePart(model) {
  const element = make("div.table", { role: "region", "aria-label": "By model", tabindex: "0" });
  const draw = () => {
    const models = model.get("models");
    element.hidden = !models.rows?.length;
    if (!element.hidden) element.replaceChildren(...tableElements(models));
  };
  return { element, traits: ["models"], draw };
}

/** What becomes of all this when the kernel ends: said from the start. @param {Model} model */
function keptPart(model) {
  const element = make("p.more.kept");
  const draw = () => setText(element, model.get("kept"));
  return { element, traits: ["kept"], draw };
}

/** @param {Model} model */
function troublePart(model) {
  const element = make("p.trouble", { role: "alert", hidden: true });
  const draw = () => {
    setText(element, model.get("error"));
    element.hidden = !model.get("error");
  };
  return { element, traits: ["error"], draw };
}

/** The minute passes without any news of the kernel's: then it is asked to count again. @param {Model} model */
function minutePart(model) {
  let timer = 0;
  const end = () => clearTimeout(timer);
  const draw = () => {
    end();
    if (model.get("free_calls").minute?.[0]) {
      timer = setTimeout(() => model.send({ type: "look" }), MINUTE_MS);
    }
  };
  return { traits: ["free_calls", "updated_at"], draw, end };
}

/**
 * Draw the parts, and each again in the frame after one of its traits has changed.
 * @param {Model} model @param {Part[]} parts
 * @returns {() => void} ends it
 */
function follow(model, parts) {
  /** @type {Set<() => void>} */
  const due = new Set();
  let frameRequest = 0;
  const drawDue = () => {
    frameRequest = 0;
    for (const draw of due) draw();
    due.clear();
  };
  const listeners = parts.flatMap(({ traits, draw }) => traits.map((name) => {
    const changed = () => {
      due.add(draw);
      frameRequest ||= requestAnimationFrame(drawDue);
    };
    return /** @type {[string, () => void]} */ ([`change:${name}`, changed]);
  }));
  for (const [event, changed] of listeners) model.on(event, changed);
  for (const { draw } of parts) draw();
  return () => {
    for (const [event, changed] of listeners) model.off(event, changed);
    cancelAnimationFrame(frameRequest);
  };
}

/**
 * Draw one view.
 * @param {{ model: Model, el: HTMLElement }} context
 * @returns {() => void}
 */
function render({ model, el }) {
  const again = make("button.again", {
    type: "button", "aria-label": "Count again",
    title: "Count again, and ask the key for its limits of free calls",
  }, icon(ARROW));
  again.addEventListener("click", () => model.send({ type: "refresh" }));
  const [sources, time, tiles] = [sourcesPart(model), timePart(model), tilesPart(model)];
  const [gauges, table, trouble] = [gaugesPart(model), tablePart(model), troublePart(model)];
  const [minute, kept] = [minutePart(model), keptPart(model)];
  const reveal = hideStatic(model.get("_lasting_id"));
  el.classList.add("ornb-panel");
  el.dataset.lmSuppressShortcuts = "true";   // JupyterLab: keys typed here are not its shortcuts
  el.append(make("section.frame", { "aria-label": "Usage" },
    make("header", {}, make("span.title", {}, "Usage"), sources.element, time.element, again),
    trouble.element, tiles.element, sources.empty, gauges.element, table.element,
    kept.element));
  const leave = follow(model, [sources, time, tiles, gauges, table, trouble, minute, kept]);
  return () => {
    leave();
    minute.end();
    reveal();
    el.replaceChildren();
  };
}

export default { render };
