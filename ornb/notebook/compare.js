/**
 * A comparison in the page: several answers side by side, each as the kernel tells it.
 *
 * The kernel numbers its messages. The news of all answers come in one, as changes to their HTML; a
 * message out of turn makes the page ask for everything. HTML comes only from the kernel's
 * sanitiser, all else goes in as text.
 *
 * @typedef {import("./kernel.js").Model} Model
 *
 * @typedef {{ key: string, name: string, value: string, remark: string, number: number | null }} Figure
 *
 * @typedef {object} Answer  `html`, `tail` and `appendix` are safe HTML, the rest is text
 * @property {string} html      finished, as a rule only grows
 * @property {string} tail      open, replaced as a whole
 * @property {string} think     reasoning, only grows
 * @property {boolean} live     whether it is being written
 * @property {string} [appendix]  pictures and sources
 * @property {string} [served]  provider and model that answered
 * @property {string} [source]
 * @property {string} [source_label]
 * @property {Figure[]} [figures]
 * @property {string} [note]
 * @property {string} [error]
 * @property {string} [status]
 * @property {boolean} [can_win]
 *
 * @typedef {object} State  of one comparison in this page, shared by its views
 * @property {number} seq       of the newest message; -1 before the first
 * @property {Answer[]} answers
 * @property {string | null} page    the page in which the lasting output can still be updated
 * @property {boolean} heard    whether the kernel has heard this page
 * @property {boolean} unsaved  whether something came that the lasting output does not have
 * @property {Set<number>} stopping
 * @property {number} asked     when everything was asked for last, in ms
 * @property {Set<(what?: string) => void>} views
 */

import { hideStatic, make, setText } from "./elements.js";
import { PAGE, SLOW_MS, forgetState, grow, hello, listen, sharedState, tell, tellViews } from "./kernel.js";
import { growingElements, safe } from "./text.js";

const LETTERS = "ABCDEFGHIJKLMNOP";
const TIE = "tie";
/** When to greet again until the kernel answers: the first greeting may wait behind its own cell. */
const GREETINGS_MS = [700, 1500, 3000];
/** Of which figures the best is marked, and how. @type {Record<string, [(a: number, b: number) => boolean, string]>} */
const BEST = {
  cost: [(a, b) => a < b, "lowest"],
  first: [(a, b) => a < b, "fastest"],
  whole: [(a, b) => a < b, "fastest"],
  rate: [(a, b) => a > b, "fastest"],
};
/** @type {Record<string, string>} */
const FIGURES = { cost: "Cost", first: "First token", whole: "Total time", rate: "Tokens/s",
  tokens: "Tokens", end: "Finish" };

/** @param {Model} model @returns {State} */
const stateOf = (model) => sharedState(model.get("_lasting_id"), () => ({
  seq: -1, page: null, heard: false, unsaved: false, stopping: new Set(), asked: 0, views: new Set(),
  answers: model.get("_names").map(() => ({ ...emptyAnswer(), live: model.get("busy") })),
}));

/** @returns {Answer} */
const emptyAnswer = () => ({ html: "", tail: "", think: "", live: true });

// --- what the kernel says ------------------------------------------------------------------------

/** @param {State} state @param {any} message @returns {string} what changed, "" for nothing, "gap" */
function take(state, message) {
  if (message.type === "state") {
    state.seq = message.seq;
    state.page = message.page;
    state.heard = message.heard !== null;
    state.answers = message.answers.map((/** @type {object} */ answer) => ({ ...emptyAnswer(), ...answer }));
    return "state";
  }
  if (message.type !== "delta" || message.seq <= state.seq) return "";
  if (state.seq < 0 || message.seq !== state.seq + 1) return "gap";
  state.seq = message.seq;
  for (const [place, change] of Object.entries(message.changes)) {
    grow(state.answers[Number(place)], change);
  }
  for (const [place, facts] of Object.entries(message.done)) {
    Object.assign(state.answers[Number(place)], facts);
    state.unsaved ||= state.page !== null && state.page !== PAGE;
  }
  return "delta";
}

// --- elements ------------------------------------------------------------------------------------

/**
 * Text of an answer, and how to bring it up to date. It stays where it is while it grows: several
 * ends at once can be followed by nobody, and all are read from the top.
 */
function textElement() {
  const { thought, summary, reasoning, done, tail, wait } = growingElements();
  // Not live itself: several that are read at once are heard by nobody. `spoken` tells of each end.
  const root = make("div", { className: "text ornb-text", role: "log", tabIndex: 0,
    ariaLive: "off" }, reasoning, done, tail, wait);
  let drawn = "";
  let drawnTail = "";
  let complete = false;

  const fade = () => root.classList.toggle("clipped",
    root.scrollHeight - root.scrollTop - root.clientHeight > 8);
  root.onscroll = fade;

  /** @param {Answer} answer */
  const update = (answer) => {
    if (!answer.html.startsWith(drawn)) {
      done.replaceChildren();
      drawn = "";
      complete = false;
    }
    if (answer.html.length > drawn.length) {
      done.append(safe(answer.html.slice(drawn.length)));
      drawn = answer.html;
    }
    if (drawnTail !== answer.tail) {
      tail.replaceChildren(safe(answer.tail));
      drawnTail = answer.tail;
    }
    if (answer.appendix && !complete) {
      complete = true;
      done.append(safe(answer.appendix));
    }
    const thoughts = thought.textContent;
    if (answer.think.startsWith(thoughts)) thought.append(answer.think.slice(thoughts.length));
    else thought.textContent = answer.think;
    reasoning.hidden = !answer.think;
    const speaks = Boolean(answer.html || answer.tail);
    setText(summary, answer.live && !speaks ? "Thinking …" : "Reasoning");
    wait.hidden = !answer.live || speaks || Boolean(answer.think);
    root.ariaBusy = String(answer.live);
    fade();
  };
  return { root, update, fade };
}

/** The figures under an answer, in places that are there from the start. */
function figuresElement() {
  const wait = make("i", { className: "waited" });
  const write = make("i", { className: "wrote" });
  const track = make("div", { className: "track", ariaHidden: "true",
    title: "Waiting for the first token, then writing; the slowest answer fills the line" }, wait, write);
  const list = make("dl");
  /** @type {Map<string, { name: HTMLElement, value: HTMLElement, best: HTMLElement }>} */
  const places = new Map();
  for (const key of Object.keys(FIGURES)) {
    const name = make("dt");
    const value = make("span", { className: "value" });
    const best = make("span", { className: "best", hidden: true });
    list.append(make("div", {}, name, make("dd", {}, value, " ", best)));
    places.set(key, { name, value, best });
  }
  const root = make("div", { className: "figures" }, track, list);

  /** @param {Figure[]} figures @param {Record<string, string>} best @param {number} longest */
  const update = (figures, best, longest) => {
    for (const [key, place] of places) {
      const figure = figures.find((one) => one.key === key);
      setText(place.name, [FIGURES[key], figure?.remark].filter(Boolean).join(", "));
      setText(place.value, figure?.value ?? "\u2013");
      setText(place.best, best[key] ?? "");
      place.best.hidden = !best[key];
    }
    const [first, whole] = ["first", "whole"].map(
      (key) => figures.find((one) => one.key === key)?.number ?? 0);
    track.classList.toggle("known", whole > 0);
    wait.style.width = `${longest ? (100 * Math.min(first || whole, whole)) / longest : 0}%`;
    write.style.width = `${longest && first ? (100 * Math.max(whole - first, 0)) / longest : 0}%`;
  };
  return { root, update };
}

/**
 * One answer's column, and how to bring it up to date.
 * @param {number} place @param {() => void} halt @param {() => void} choose
 */
function columnElement(place, halt, choose) {
  const letter = LETTERS[place];
  const chip = make("span", { className: "chip", textContent: letter, ariaHidden: "true" });
  const author = make("span", { className: "author" });
  const name = make("span", { className: "name" });
  const badge = make("span", { className: "badge" });
  const crown = make("span", { className: "crown", hidden: true });
  const stop = make("button", { type: "button", className: "stop", textContent: "Stop", onclick: halt });
  const vote = make("button", { type: "button", className: "vote", textContent: `Choose ${letter}`,
    onclick: choose, hidden: true });
  const text = textElement();
  const trouble = make("p", { className: "trouble", hidden: true });
  const served = make("p", { className: "served" });
  const figures = figuresElement();
  const hidden = make("p", { className: "hidden-facts", textContent:
    "Name, cost and times are shown after the vote." });
  const root = make("article", { className: "column" },
    make("header", {}, chip,
      make("div", { className: "who" }, author, name),
      make("span", { className: "slot" }, stop, vote)),
    make("p", { className: "marks" }, badge, crown), make("div", { className: "said" }, trouble, text.root),
    served, make("footer", {}, figures.root, hidden));

  /**
   * @param {Answer} answer @param {string} title
   * @param {{ sealed: boolean, stopping: boolean, open: boolean, verdict: string,
   *   lettered: boolean, best: Record<string, string>, longest: number }} context
   */
  const update = (answer, title, context) => {
    const { sealed, verdict } = context;
    const slash = title.indexOf("/");
    setText(author, sealed || slash < 0 ? "" : title.slice(0, slash));
    setText(name, sealed || slash < 0 ? title : title.slice(slash + 1));
    root.ariaLabel = title;
    text.root.ariaLabel = sealed ? title : `Answer of ${title}`;
    chip.hidden = !context.lettered;
    root.className = `column ${answer.live ? "live" : "over"} ${verdict}`;
    text.update(answer);
    stop.hidden = !answer.live;
    stop.disabled = context.stopping;
    stop.ariaLabel = `Stop ${title}`;
    vote.hidden = !context.open;
    vote.disabled = !answer.can_win;
    const doing = answer.html || answer.tail ? "writing" : answer.think ? "thinking" : "waiting";
    const said = answer.live ? doing : answer.source_label ?? "";
    badge.hidden = !said;
    badge.className = `badge ${answer.live ? "doing" : said === "live" ? "live" : "other"}`;
    setText(badge, context.stopping && answer.live ? "stopping" : said);
    crown.hidden = !["won", "tie"].includes(verdict);
    setText(crown, verdict === "won" ? "Your choice" : "Tie");
    setText(trouble, answer.error ?? "");
    trouble.hidden = !answer.error;
    text.root.hidden = Boolean(answer.error) && !answer.html && !answer.think;
    hidden.hidden = !sealed;
    figures.root.hidden = sealed;
    setText(served, answer.served ? `Served by ${answer.served}` : "");
    figures.update(answer.figures ?? [], context.best, context.longest);
  };
  return { root, update, vote, text: text.root, fade: text.fade };
}

/**
 * Of each figure, the place of the one best value, if there is one as far as it is shown.
 * None where one engine answered for several.
 * @param {Answer[]} answers @param {string} engine
 * @returns {Record<string, string>[]} for each answer, figure to mark
 */
function bestOf(answers, engine) {
  const marks = answers.map(() => /** @type {Record<string, string>} */ ({}));
  if (engine || answers.some(({ live }) => live)) return marks;
  for (const [key, [better, word]] of Object.entries(BEST)) {
    const known = answers.flatMap(({ figures, status }, place) => {
      const figure = figures?.find((one) => one.key === key);
      const number = figure?.number ?? null;
      return figure && number !== null && status === "ok" ? [{ place, number, value: figure.value }] : [];
    });
    if (known.length < 2) continue;
    const [first, ...others] = known.sort((a, b) => (better(a.number, b.number) ? -1 : 1));
    if (others.every(({ value }) => value !== first.value)) marks[first.place][key] = word;
  }
  return marks;
}

// --- a view --------------------------------------------------------------------------------------

/** What the parts of one view share, and what is done in it. */
class View {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.state = stateOf(model);
    this.slow = false;
    this.timer = 0;
    this.draw = () => {};
  }

  isOpen() {
    const { model, state } = this;
    return model.get("_sealed") && model.get("vote") === null
      && state.seq >= 0 && !state.answers.some(({ live }) => live);
  }

  /** @param {number | null} place  of the answer to stop; null for all */
  halt(place) {
    const { model, state } = this;
    const which = place === null ? state.answers.map((_, i) => i) : [place];
    for (const one of which) if (state.answers[one].live) state.stopping.add(one);
    this.slow = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.slow = true; this.draw(); }, SLOW_MS);
    tell(model, place === null ? { type: "stop" } : { type: "stop", place });
    tellViews(state);
  }

  /** @param {string} choice */
  choose(choice) {
    if (!this.isOpen()) return;
    this.model.set("vote", choice);
    this.model.save_changes();
    tellViews(this.state);
  }
}

/** The prompt, and the button that shows all of one that is long. @param {Model} model */
function promptPart(model) {
  const prompt = make("p", { className: "prompt", textContent: model.get("_prompt") });
  const more = make("button", { type: "button", className: "more", hidden: true, ariaLabel: "Whole prompt" });
  const fit = () => {
    const whole = prompt.classList.contains("whole");
    more.hidden = !whole && prompt.scrollHeight <= prompt.clientHeight + 2;
    more.textContent = whole ? "less" : "more";
    more.ariaExpanded = String(whole);
  };
  more.onclick = () => {
    prompt.classList.toggle("whole");
    fit();
  };
  return { element: make("div", { className: "asked" }, prompt, more), prompt, fit };
}

/** How far all of it is, in a line. @param {View} view */
function statusOf(view) {
  const { answers, stopping } = view.state;
  const vote = view.model.get("vote");
  const running = answers.filter(({ live }) => live).length;
  if (view.slow && answers.some(({ live }, place) => live && stopping.has(place))) {
    return "The kernel is busy; interrupting it stops all at once";
  }
  if (running) return `${answers.length - running} of ${answers.length} done`;
  if (view.isOpen()) return "Which answer is best?";
  if (view.model.get("_sealed") && vote) return "Voting …";
  if (vote === TIE) return "You called it a tie";
  if (vote) return `You chose ${view.model.get("_names")[LETTERS.indexOf(vote)]}`;
  return `${answers.length} answer${answers.length === 1 ? "" : "s"}`;
}

/** What stands above the answers and below them. @param {View} view */
function aroundPart(view) {
  const { model, state } = view;
  const service = make("span", { className: "badge" });
  const status = make("span", { className: "status", role: "status" });
  const stop = make("button", { type: "button", className: "stop", textContent: "Stop all",
    title: "Stop all answers and keep what has arrived", onclick: () => view.halt(null) });
  const tie = make("button", { type: "button", className: "vote", textContent: "Tie",
    title: "Several are equally good", hidden: true, onclick: () => view.choose(TIE) });
  const banner = make("p", { className: "trouble", role: "alert", hidden: true });
  const stale = make("p", { className: "stale", hidden: true, textContent:
    "This page was loaded again: what came since is not saved in the notebook. Show the comparison "
    + "once more in a cell, and it is." });
  const engine = make("p", { className: "engine", hidden: true });
  const notes = make("p", { className: "notes", hidden: true });
  const draw = () => {
    const { answers } = state;
    stop.hidden = answers.every(({ live }) => !live);
    stop.disabled = answers.every(({ live }, place) => !live || state.stopping.has(place));
    tie.hidden = !view.isOpen();
    const where = model.get("service");
    service.textContent = where;
    service.hidden = !where;
    service.classList.toggle("other", where === "offline");
    const error = model.get("error");
    setText(banner, error);
    banner.hidden = !error;
    stale.hidden = !state.unsaved;
    setText(engine, `${model.get("_engine")}: no figure here tells the models apart.`);
    engine.hidden = !model.get("_engine");
    setText(status, statusOf(view));
    const lines = answers.flatMap(({ note }) => (note ?? "").split("\n"));
    const said = [...new Set(lines.filter(Boolean))];
    setText(notes, said.join("\n"));
    notes.hidden = said.length === 0;
  };
  return { controls: [service, make("span", { className: "slot" }, stop, tie)],
    above: [banner, stale, engine], status, tie, notes, draw };
}

/** Tells those who hear the page how each answer ended. @param {State} state */
function spokenPart(state) {
  const element = make("div", { className: "unseen", ariaLive: "polite", "aria-relevant": "additions" });
  const unended = new Set(state.answers.keys());
  /** @param {number} place @param {string} title */
  const tellEnd = (place, title) => {
    const { status: end, error, html, live } = state.answers[place];
    if (live || !unended.delete(place) || state.seq < 0) return;
    const words = (html.replace(/<[^>]*>/g, "").match(/\S+/g) ?? []).length;
    const told = error ? `failed. ${error}` : end === "stopped" ? "was stopped."
      : `is complete: ${words} word${words === 1 ? "" : "s"}.`;
    element.append(make("p", { textContent: `${title}: the answer ${told}` }));
  };
  return { element, tellEnd };
}

/** The answers side by side. @param {View} view @param {(place: number, title: string) => void} tellEnd */
function gridPart(view, tellEnd) {
  const { model, state } = view;
  const lettered = model.get("_sealed") || model.get("vote") !== null;
  const columns = state.answers.map((_, place) => columnElement(place, () => view.halt(place),
    () => view.choose(LETTERS[place])));
  const element = make("div", { className: "grid" }, ...columns.map(({ root }) => root));
  const draw = () => {
    const { answers } = state;
    const names = model.get("_names");
    const [sealed, vote, open] = [model.get("_sealed"), model.get("vote"), view.isOpen()];
    const best = bestOf(answers, model.get("_engine"));
    const longest = Math.max(...answers.map(
      ({ figures }) => figures?.find(({ key }) => key === "whole")?.number ?? 0));
    columns.forEach((column, place) => {
      const verdict = sealed || vote === null ? "" : vote === TIE ? "tie"
        : vote === LETTERS[place] ? "won" : "lost";
      column.update(answers[place], names[place], { sealed, open, verdict, longest, lettered,
        best: best[place], stopping: state.stopping.has(place) });
      tellEnd(place, names[place]);
    });
  };
  /** The text that takes the focus of what was in a column. @param {Element} one */
  const textNear = (one) => {
    const near = columns.find(({ root }) => root.contains(one));
    return [near, ...columns].map((column) => column?.text).find((text) => text?.checkVisibility());
  };
  return { element, columns, draw, textNear };
}

/**
 * A letter goes to the button that votes for it.
 * @param {View} view @param {ReturnType<typeof columnElement>[]} columns @param {HTMLElement} tie
 * @param {KeyboardEvent} event
 */
function onKey(view, columns, tie, event) {
  if (!view.isOpen() || event.ctrlKey || event.metaKey || event.altKey) return;
  const place = LETTERS.indexOf(event.key.toUpperCase());
  const button = event.key.toLowerCase() === "t" ? tie : columns[place]?.vote;
  if (event.key.length !== 1 || !button) return;
  event.preventDefault();
  event.stopPropagation();
  button.focus();                            // Enter or the space bar then casts it
  button.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const view = new View(model);
  const { state } = view;
  const [asked, around, spoken] = [promptPart(model), aroundPart(view), spokenPart(state)];
  const grid = gridPart(view, spoken.tellEnd);
  const frame = make("section", { className: "frame", ariaLabel: "Comparison" },
    make("header", { className: "top" }, asked.element,
      make("div", { className: "bar" }, around.status, spoken.element, ...around.controls)),
    ...around.above, grid.element, around.notes);
  frame.style.setProperty("--ornb-columns", String(grid.columns.length));
  frame.onkeydown = (/** @type {KeyboardEvent} */ event) => onKey(view, grid.columns, around.tie, event);
  el.classList.add("ornb-compare");
  el.dataset.lmSuppressShortcuts = "true";   // JupyterLab: keys typed here are not its shortcuts
  el.append(frame);

  /** A button that has gone would drop the focus: what it was about has it then. @param {any} one */
  const keepFocus = (one) => {
    if (!one || !frame.contains(one) || (!one.disabled && one.checkVisibility())) return;
    const next = grid.textNear(one) ?? frame;
    if (next === frame) frame.tabIndex = -1;
    next.focus({ preventScroll: true });
  };
  let frameRequest = 0;
  view.draw = () => {
    frameRequest = 0;
    const focused = /** @type {Document} */ (el.getRootNode()).activeElement;
    el.classList.toggle("unheard", state.seq < 0);
    grid.draw();
    around.draw();
    keepFocus(focused);
  };
  /** @type {(() => void) | null} */
  let reveal = null;
  /** @param {string} [what] */
  const changed = (what) => {
    if (what === "state") reveal ??= hideStatic(model.get("_lasting_id"));
    frameRequest ||= requestAnimationFrame(view.draw);
  };

  const traits = ["vote", "busy", "service", "error", "_names", "_sealed", "_engine"]
    .map((trait) => `change:${trait}`);
  const redraw = () => changed();
  for (const event of traits) model.on(event, redraw);
  state.views.add(changed);
  const resized = new ResizeObserver(() => {
    asked.fit();
    for (const column of grid.columns) column.fade();
  });
  resized.observe(asked.prompt);
  resized.observe(grid.element);
  hello(state, model);
  view.draw();
  return () => {
    state.views.delete(changed);
    for (const event of traits) model.off(event, redraw);
    resized.disconnect();
    cancelAnimationFrame(frameRequest);
    clearTimeout(view.timer);
    reveal?.();
  };
}

/** @param {{ model: Model }} context */
function initialize({ model }) {
  const state = stateOf(model);
  const leave = listen(state, model, (message) => take(state, message));
  const timers = GREETINGS_MS.map((ms) => setTimeout(() => {
    if (!state.heard) hello(state, model);
  }, ms));
  return () => {
    timers.forEach(clearTimeout);
    leave();
    forgetState(model.get("_lasting_id"));
  };
}

export default { initialize, render };
