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

import { hideStatic, make, say } from "./elements.js";
import { PAGE, SLOW_MS, grow, hello, listen, tell, tellViews } from "./kernel.js";
import { safe } from "./text.js";

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

/** anywidget hands `initialize` and `render` different models over one state. @type {Map<string, State>} */
const STATES = new Map();

/** @param {Model} model @returns {State} */
function stateOf(model) {
  const id = model.get("_comparison_id");
  let state = STATES.get(id);
  if (!state) {
    const live = model.get("busy");
    state = {
      seq: -1, answers: model.get("_names").map(() => ({ ...emptyAnswer(), live })),
      page: null, heard: false, unsaved: false, stopping: new Set(), asked: 0, views: new Set(),
    };
    STATES.set(id, state);
  }
  return state;
}

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
  const thought = make("div", { className: "thought", tabIndex: 0, role: "group",
    ariaLabel: "Reasoning" });
  const summary = make("summary");
  const reasoning = make("details", { className: "reasoning", hidden: true }, summary, thought);
  const done = make("div", { className: "done" });
  const tail = make("div", { className: "tail" });
  const wait = make("div", { className: "wait", role: "img", ariaLabel: "Waiting for the first word" },
    make("i"), make("i"), make("i"));
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
    say(summary, answer.live && !speaks ? "Thinking …" : "Reasoning");
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
      say(place.name, [FIGURES[key], figure?.remark].filter(Boolean).join(", "));
      say(place.value, figure?.value ?? "\u2013");
      say(place.best, best[key] ?? "");
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
    say(author, sealed || slash < 0 ? "" : title.slice(0, slash));
    say(name, sealed || slash < 0 ? title : title.slice(slash + 1));
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
    say(badge, context.stopping && answer.live ? "stopping" : said);
    crown.hidden = !["won", "tie"].includes(verdict);
    say(crown, verdict === "won" ? "Your choice" : "Tie");
    say(trouble, answer.error ?? "");
    trouble.hidden = !answer.error;
    text.root.hidden = Boolean(answer.error) && !answer.html && !answer.think;
    hidden.hidden = !sealed;
    figures.root.hidden = sealed;
    say(served, answer.served ? `Served by ${answer.served}` : "");
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

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const state = stateOf(model);
  const prompt = make("p", { className: "prompt", textContent: model.get("_prompt") });
  const more = make("button", { type: "button", className: "more", hidden: true });
  const service = make("span", { className: "badge" });
  const status = make("span", { className: "status", role: "status" });
  const spoken = make("div", { className: "unseen", ariaLive: "polite", "aria-relevant": "additions" });
  const stop = make("button", { type: "button", className: "stop", textContent: "Stop all",
    title: "Stop all answers and keep what has arrived" });
  const tie = make("button", { type: "button", className: "vote", textContent: "Tie",
    title: "Several are equally good", hidden: true });
  const banner = make("p", { className: "trouble", role: "alert", hidden: true });
  const stale = make("p", { className: "stale", hidden: true, textContent:
    "This page was loaded again: what came since is not saved in the notebook. Show the comparison "
    + "once more in a cell, and it is." });
  const engine = make("p", { className: "engine", hidden: true });
  const grid = make("div", { className: "grid" });
  const notes = make("p", { className: "notes", hidden: true });
  const frame = make("section", { className: "frame", ariaLabel: "Comparison" },
    make("header", { className: "top" },
      make("div", { className: "asked" }, prompt, more),
      make("div", { className: "bar" }, status, spoken, service, make("span", { className: "slot" }, stop, tie))),
    banner, stale, engine, grid, notes);
  el.classList.add("ornb-compare");
  el.dataset.lmSuppressShortcuts = "true";   // JupyterLab: keys typed here are not its shortcuts
  el.append(frame);

  /** @type {(() => void) | null} */
  let reveal = null;
  let frameRequest = 0;
  let slow = false;
  let slowTimer = 0;
  const lettered = model.get("_sealed") || model.get("vote") !== null;

  const columns = state.answers.map((_, place) => columnElement(place, () => halt(place),
    () => choose(LETTERS[place])));
  grid.append(...columns.map(({ root }) => root));
  frame.style.setProperty("--ornb-columns", String(columns.length));

  const isOpen = () => model.get("_sealed") && model.get("vote") === null
    && state.seq >= 0 && !state.answers.some(({ live }) => live);

  /** @param {number | null} place */
  const halt = (place) => {
    const which = place === null ? state.answers.map((_, i) => i) : [place];
    for (const one of which) if (state.answers[one].live) state.stopping.add(one);
    slow = false;
    clearTimeout(slowTimer);
    slowTimer = setTimeout(() => { slow = true; draw(); }, SLOW_MS);
    tell(model, place === null ? { type: "stop" } : { type: "stop", place });
    tellViews(state);
  };

  /** @param {string} choice */
  const choose = (choice) => {
    if (!isOpen()) return;
    model.set("vote", choice);
    model.save_changes();
    tellViews(state);
  };

  const unended = new Set(state.answers.keys());
  /** Tell those who hear the page how an answer ended. @param {number} place @param {string} title */
  const tellEnd = (place, title) => {
    const { status: end, error, html } = state.answers[place];
    if (!unended.delete(place) || state.seq < 0) return;
    const words = (html.replace(/<[^>]*>/g, "").match(/\S+/g) ?? []).length;
    const told = error ? `failed. ${error}` : end === "stopped" ? "was stopped."
      : `is complete: ${words} word${words === 1 ? "" : "s"}.`;
    spoken.append(make("p", { textContent: `${title}: the answer ${told}` }));
  };

  /** A button that has gone would drop the focus: what it was about has it then. @param {any} one */
  const keepFocus = (one) => {
    if (!one || !frame.contains(one) || (!one.disabled && one.checkVisibility())) return;
    const near = columns.findIndex(({ root }) => root.contains(one));
    const texts = [columns[near], ...columns].map((column) => column?.text);
    const next = texts.find((text) => text?.checkVisibility()) ?? frame;
    if (next === frame) frame.tabIndex = -1;
    next.focus({ preventScroll: true });
  };

  const draw = () => {
    frameRequest = 0;
    const focused = /** @type {Document} */ (el.getRootNode()).activeElement;
    el.classList.toggle("unheard", state.seq < 0);
    const { answers } = state;
    const names = model.get("_names");
    const [sealed, vote, open] = [model.get("_sealed"), model.get("vote"), isOpen()];
    const best = bestOf(answers, model.get("_engine"));
    const longest = Math.max(...answers.map(
      ({ figures }) => figures?.find(({ key }) => key === "whole")?.number ?? 0));
    columns.forEach((column, place) => {
      const verdict = sealed || vote === null ? "" : vote === TIE ? "tie"
        : vote === LETTERS[place] ? "won" : "lost";
      column.update(answers[place], names[place], { sealed, open, verdict, longest, lettered,
        best: best[place], stopping: state.stopping.has(place) });
      if (!answers[place].live) tellEnd(place, names[place]);
    });
    drawTop(answers, names, sealed, vote, open);
    keepFocus(focused);
  };

  /**
   * @param {Answer[]} answers @param {string[]} names @param {boolean} sealed
   * @param {string | null} vote @param {boolean} open
   */
  const drawTop = (answers, names, sealed, vote, open) => {
    const running = answers.filter(({ live }) => live).length;
    const over = answers.length - running;
    stop.hidden = running === 0;
    stop.disabled = answers.every(({ live }, place) => !live || state.stopping.has(place));
    tie.hidden = !open;
    const where = model.get("service");
    service.textContent = where;
    service.hidden = !where;
    service.classList.toggle("other", where === "offline");
    const error = model.get("error");
    say(banner, error);
    banner.hidden = !error;
    stale.hidden = !state.unsaved;
    say(engine, `${model.get("_engine")}: no figure here tells the models apart.`);
    engine.hidden = !model.get("_engine");
    const winner = vote && vote !== TIE ? names[LETTERS.indexOf(vote)] : "";
    const held = slow && answers.some(({ live }, place) => live && state.stopping.has(place));
    say(status, held ? "The kernel is busy; interrupting it stops all at once"
      : running ? `${over} of ${answers.length} done`
        : open ? "Which answer is best?"
          : sealed && vote ? "Voting …"
            : vote === TIE ? "You called it a tie"
              : vote ? `You chose ${winner}`
                : `${answers.length} answer${answers.length === 1 ? "" : "s"}`);
    const said = [...new Set(answers.map(({ note }) => note).filter(Boolean))];
    say(notes, said.join("\n"));
    notes.hidden = said.length === 0;
  };

  const fit = () => {
    const clipped = prompt.scrollHeight > prompt.clientHeight + 2;
    more.hidden = !clipped && !prompt.classList.contains("whole");
    more.textContent = prompt.classList.contains("whole") ? "less" : "more";
    more.ariaExpanded = String(prompt.classList.contains("whole"));
  };
  more.ariaLabel = "Whole prompt";
  more.onclick = () => {
    prompt.classList.toggle("whole");
    fit();
  };

  /** @param {string} [what] */
  const changed = (what) => {
    if (what === "state") reveal ??= hideStatic(model.get("_comparison_id"));
    frameRequest ||= requestAnimationFrame(draw);
  };

  stop.onclick = () => halt(null);
  tie.onclick = () => choose(TIE);
  frame.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (!isOpen() || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = LETTERS.indexOf(event.key.toUpperCase());
    const button = event.key.toLowerCase() === "t" ? tie : columns[place]?.vote;
    if (event.key.length !== 1 || !button) return;
    event.preventDefault();
    event.stopPropagation();
    button.focus();                          // Enter or the space bar then casts it
    button.scrollIntoView({ block: "nearest", inline: "nearest" });
  };

  const traits = ["vote", "busy", "service", "error", "_names", "_sealed", "_engine"]
    .map((trait) => `change:${trait}`);
  const redraw = () => changed();
  for (const event of traits) model.on(event, redraw);
  state.views.add(changed);
  const resized = new ResizeObserver(() => {
    fit();
    for (const column of columns) column.fade();
  });
  resized.observe(prompt);
  resized.observe(grid);
  hello(state, model);
  draw();
  return () => {
    state.views.delete(changed);
    for (const event of traits) model.off(event, redraw);
    resized.disconnect();
    cancelAnimationFrame(frameRequest);
    clearTimeout(slowTimer);
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
    STATES.delete(model.get("_comparison_id"));
  };
}

export default { initialize, render };
