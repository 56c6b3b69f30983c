/**
 * Chat in the page: draws what the kernel says, sends what the person types.
 *
 * The kernel numbers its messages. An answer arrives as changes to its HTML; a message out of turn
 * makes the page ask for the whole. HTML comes only from the kernel's sanitiser, everything else
 * goes in as text.
 *
 * @typedef {import("./chat-state.js").Answer} Answer
 * @typedef {import("./chat-state.js").Attached} Attached
 * @typedef {import("./chat-state.js").Question} Question
 * @typedef {import("./chat-state.js").State} State
 * @typedef {import("./kernel.js").Model} Model
 */

import { iconButton } from "./chat-buttons.js";
import { keep } from "./chat-kept.js";
import { settingsElement } from "./chat-settings.js";
import { STATES, stateOf, take } from "./chat-state.js";
import { answerElement, fileElement, questionElement } from "./chat-turns.js";
import { hideStatic, make } from "./elements.js";
import { PAGE, SLOW_MS, hello, listen, tell, tellViews } from "./kernel.js";

const PIECE = 2_000_000;                     // bytes; Jupyter lets no message through above 10 MB
const LARGEST = 20_000_000;
const SAID_MS = 60_000;                      // what is said aloud stands in the log too: read there

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const state = stateOf(model);
  const name = make("span", { className: "model" });
  const service = make("span", { className: "badge" });
  const status = make("span", { className: "status", role: "status" });
  const spoken = make("div", { className: "unseen", ariaLive: "polite", "aria-relevant": "additions" });
  /** @param {string} text */
  const aloud = (text) => {
    const piece = make("p", { textContent: text });
    spoken.append(piece);
    setTimeout(() => piece.remove(), SAID_MS);
  };
  const box = make("textarea", {
    rows: 1, ariaLabel: "Message to the model", placeholder: "Ask anything", spellcheck: true,
  });
  const send = make("button", { type: "submit", className: "send", textContent: "Send",
    title: "Enter sends, Shift+Enter makes a new line" });
  const stop = make("button", { type: "button", className: "stop", textContent: "Stop",
    title: "Stop the answer and keep what has arrived (Escape)" });
  const picked = make("input", { type: "file", multiple: true, hidden: true, tabIndex: -1,
    accept: "image/png,image/jpeg,image/gif,image/webp,application/pdf,audio/wav,audio/mpeg" });
  const attach = iconButton("attach", "Attach images or PDFs (or drop, or paste them)",
    () => picked.click(), "attach");
  const composer = make("form", { className: "composer" }, attach, picked, box, send, stop);
  const waiting = make("div", { className: "files waiting", ariaLabel: "To be sent", role: "group",
    hidden: true });
  const banner = make("p", { className: "trouble", role: "alert" });
  const stale = make("details", { className: "stale" },
    make("summary", { textContent:
      "From this page new answers are not saved in the notebook. How to mend it" }),
    make("p", { textContent:
      "The page was loaded again, or the output that stays was removed, or a newer page saves. "
      + "Run the cell that shows this chat once more: it comes back with all its messages, and "
      + "saves again. Or keep a copy with chat.conversation.save(\"chat.json\"), which "
      + "Chat.reopen(\"chat.json\") goes on with." }));
  // Not live itself: a screen reader would read every piece. `status` tells it of the start of an
  // answer, and `spoken` of its paragraphs as they are finished, of a tool that asks, and of its end.
  const log = make("div", {
    className: "log", role: "log", tabIndex: 0, ariaLabel: "Conversation", ariaLive: "off",
  });
  /** @type {string | null} */
  let pressed = null;
  /** @param {object} content */
  const say = (content) => {
    const { type } = /** @type {any} */ (content);
    pressed = type === "go" ? document.activeElement?.ariaLabel ?? null : null;
    if (state.live && type !== "allow") return;
    // What was pressed is about to be disabled or replaced, and would drop the focus.
    if (type !== "go" && log.matches(":focus-within")) box.focus({ preventScroll: true });
    if (!tell(model, content)) {
      state.refused = "The kernel has stopped. Run the cells of this notebook again.";
      tellViews(state);
    }
  };
  const drawer = settingsElement(model, state);
  const gear = iconButton("settings", "Settings", () => {
    drawer.root.hidden = !drawer.root.hidden;
    gear.ariaExpanded = String(!drawer.root.hidden);
    if (!drawer.root.hidden) drawer.open();
  }, "gear");
  gear.ariaExpanded = "false";
  const frame = make("section", { className: "frame", ariaLabel: "Chat" },
    make("header", { className: "top" }, name, service, status, spoken, gear), composer, waiting, banner,
    drawer.root, stale, log);
  el.classList.add("ornb-chat");
  el.dataset.lmSuppressShortcuts = "true";   // JupyterLab: keys typed here are not its shortcuts
  el.append(frame);

  /** @type {Map<string, { root: HTMLElement, update?: (answer: any, live: boolean) => void }>} */
  const shown = new Map();
  /** @type {(() => void) | null} */
  let reveal = null;
  let frameRequest = 0;
  let toEnd = true;
  let ended = false;
  /** @type {string | undefined} */
  let asked;                                 // the tool's call that was said to wait for an answer
  let slow = false;
  let slowTimer = 0;

  const drawLog = () => {
    const atEnd = toEnd || log.scrollHeight - log.scrollTop - log.clientHeight < 32;
    const wanted = state.live ? [...state.turns, state.live] : state.turns;
    const keys = new Set(wanted.map(({ key }) => key));
    const held = log.matches(":focus-within");
    for (const [key, { root }] of shown) {
      if (!keys.has(key)) {
        root.remove();
        shown.delete(key);
      }
    }
    for (const turn of wanted) {
      let element = shown.get(turn.key);
      if (!element) {
        element = turn.role === "user"
          ? { root: questionElement(/** @type {Question} */ (turn), say) }
          : answerElement(/** @type {Answer} */ (turn), say, aloud);
        shown.set(turn.key, element);
        log.append(element.root);
      }
      element.update?.(turn, turn === state.live);
    }
    log.hidden = wanted.length === 0;
    if (held && !log.matches(":focus-within")) (log.hidden ? box : log).focus({ preventScroll: true });
    if (atEnd) log.scrollTop = log.scrollHeight;
    toEnd = false;
  };

  const drawStatus = () => {
    const running = state.live !== null;
    const focused = /** @type {Document} */ (el.getRootNode()).activeElement;
    send.disabled = running || Boolean(state.sending);
    stop.disabled = !running || state.stopping;
    // A button that can't be pressed any more would drop the focus of who pressed it by key.
    if ([send, stop].some((button) => button === focused && button.disabled)) {
      box.focus({ preventScroll: true });
    }
    for (const button of log.querySelectorAll("button.change")) {
      const off = running || button.dataset.end === "true";
      if (off && button === focused && !pressed) log.focus({ preventScroll: true });
      if (button.disabled !== off) button.disabled = off;
    }
    for (const button of log.querySelectorAll("button.again")) {
      const next = model.get("model");
      const other = next && next !== button.dataset.model ? ` with ${next}` : "";
      const label = `Try again${other}`;
      if (button.title !== label) button.title = button.ariaLabel = label;
    }
    box.readOnly = Boolean(state.sending);
    name.textContent = model.get("model") || model.get("_default_model") || "default model";
    const where = model.get("service");
    service.textContent = where;
    service.hidden = !where;
    service.classList.toggle("other", where === "offline");
    const trouble = state.refused || model.get("error");
    banner.textContent = trouble;
    banner.hidden = !trouble;
    const unsaved = state.lost || (state.page && state.page !== PAGE);
    stale.hidden = !unsaved || state.turns.length === 0;
    const asks = state.live?.steps?.find((step) => step.state === "asking");
    const news = state.sending && slow
      ? "The kernel is busy or has stopped; your message is kept"
      : state.stopping ? (slow ? "The kernel is busy; interrupting it stops at once" : "Stopping …")
        : asks ? "Waiting for you"
          : running ? "Answering …" : "";
    if (status.textContent !== news) status.textContent = news;
    if (asks && asks.id !== asked) {
      aloud(`The model asks to run ${asks.name}. `
        + (state.live?.blocking ? "Answer in the cell that asks." : "Run or refuse it in its answer."));
    }
    asked = asks?.id;
  };

  const drawFiles = () => {
    const shownNow = state.files.map(({ id, ready }) => `${id} ${ready}`).join();
    if (waiting.dataset.shown === shownNow) return;
    waiting.dataset.shown = shownNow;
    waiting.replaceChildren(...state.files.map((file) => {
      const off = iconButton("close", `Remove ${file.name}`, () => {
        state.files = state.files.filter((one) => one !== file);
        tell(model, { type: "detach", id: file.id });
        tellViews(state);
        box.focus();
      }, "off");
      const element = fileElement(file, off);
      element.classList.toggle("loading", !file.ready);
      return element;
    }));
    waiting.hidden = state.files.length === 0;
  };

  /** After a switch the arrow that was pressed keeps the focus, or the other one at the end. */
  const keepFocus = () => {
    const key = state.turns.find(({ id }) => id === state.moved)?.key ?? "";
    const arrows = [...shown.get(key)?.root.querySelectorAll(".versions button:enabled") ?? []];
    const arrow = arrows.find(({ ariaLabel }) => ariaLabel === pressed) ?? arrows[0];
    if (pressed) /** @type {HTMLElement} */ (arrow)?.focus({ preventScroll: true });
    pressed = null;
  };

  const draw = () => {
    frameRequest = 0;
    el.classList.toggle("unheard", state.seq < 0);
    drawLog();
    if (ended) aloud(endInWords(state.turns.at(-1)));   // after its last words
    ended = false;
    drawStatus();
    drawFiles();
    if (pressed && state.moved) keepFocus();
    state.moved = null;
  };

  /** @param {string} [what] */
  const changed = (what) => {
    if (what === "state") reveal ??= hideStatic(model.get("_chat_id"));
    if (what === "settings") drawer.draw();
    if (what === "done") ended = true;
    if (what === "asked") {
      spoken.replaceChildren();
      ended = false;
      if (textOf(state.turns.at(-1)).trim() === box.value.trim()) box.value = "";
      toEnd = true;
      fit();
    }
    const last = /** @type {Answer | undefined} */ (state.turns.at(-1));
    if (what === "done" && last?.status === "error" && !last.html && !box.value) {
      box.value = textOf(state.turns.at(-2));          // nothing came: the question is not lost
      fit();
    }
    frameRequest ||= requestAnimationFrame(draw);
  };

  const fit = () => {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight + 2, 200)}px`;
  };

  const ask = () => {
    if (state.sending || state.live) return;
    state.refused = "";
    if (!box.value.trim() && !state.files.length) {
      state.refused = "The prompt is empty, so nothing was sent. Write a prompt first.";
    } else if (state.files.some(({ ready }) => !ready)) {
      state.refused = "A file is still being read; send again in a moment.";
    } else {
      const files = state.files.map(({ id }) => id);
      if (tell(model, { type: "ask", text: box.value, ...(files.length ? { files } : {}) })) {
        state.sending = box.value || " ";
        state.sent = /** @type {string[]} */ (files);
      }
      else state.refused = "The kernel has stopped. Run the cells of this notebook again.";
      expectSoon();
    }
    tellViews(state);
  };

  /** Say what holds the kernel up if nothing comes of a click. */
  const expectSoon = () => {
    slow = false;
    clearTimeout(slowTimer);
    slowTimer = setTimeout(() => { slow = true; drawStatus(); }, SLOW_MS);
  };

  const halt = () => {
    if (!state.live || state.stopping) return;
    state.stopping = true;
    expectSoon();
    tell(model, { type: "stop" });
    tellViews(state);
  };

  composer.onsubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    ask();
  };
  /** @param {Iterable<File>} files */
  const add = (files) => {
    for (const file of files) upload(model, state, file);
  };
  picked.onchange = () => {
    add(picked.files);
    picked.value = "";
    box.focus();
  };
  box.onpaste = (/** @type {ClipboardEvent} */ event) => {
    const { files } = event.clipboardData ?? {};
    if (files?.length) {
      event.preventDefault();
      add(files);
    }
  };
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    frame.addEventListener(kind, (/** @type {DragEvent} */ event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      const out = kind === "dragleave"
        && !frame.contains(/** @type {Node | null} */ (event.relatedTarget));
      if (kind === "drop" || out) frame.classList.remove("dropping");
      else frame.classList.add("dropping");
      if (kind === "drop") add(event.dataTransfer?.files ?? []);
    });
  }
  frame.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const typing = /** @type {HTMLElement} */ (event.target).matches("input, textarea, select");
    if (saves(event)) {                      // the one shortcut that is meant for the notebook
      delete el.dataset.lmSuppressShortcuts;
      setTimeout(() => { el.dataset.lmSuppressShortcuts = "true"; });
    } else if (typing) {
      event.stopPropagation();
    }
    if (event.key === "Escape" && drawer.root.contains(/** @type {Node} */ (event.target))) {
      gear.click();
      gear.focus();
    }
  });
  stop.onclick = halt;
  box.oninput = () => {
    fit();
    if (state.refused) {
      state.refused = "";
      tellViews(state);
    }
  };
  box.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (!saves(event)) event.stopPropagation();
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask();
    } else if (event.key === "Escape") {
      halt();
    }
  };

  const traits = ["model", "service", "error", "_default_model"].map((trait) => `change:${trait}`);
  for (const event of traits) model.on(event, drawStatus);
  state.views.add(changed);
  hello(state, model);
  draw();
  return () => {
    state.views.delete(changed);
    for (const event of traits) model.off(event, drawStatus);
    cancelAnimationFrame(frameRequest);
    clearTimeout(slowTimer);
    reveal?.();
  };
}

/** What a question says. @param {Question | Answer} [turn] */
const textOf = (turn) => (turn && "text" in turn ? turn.text : "");

/** @param {KeyboardEvent} event */
const saves = (event) => (event.ctrlKey || event.metaKey) && event.key === "s";

/**
 * How an answer ended, for those who hear the page.
 * @param {any} answer
 */
function endInWords(answer) {
  if (answer.status === "stopped") return "Stopped. What had arrived is kept.";
  if (answer.status === "error") return `The answer failed. ${answer.error ?? ""}`;
  const words = (answer.source_text ?? "").split(/\s+/).filter(Boolean).length;
  return `The answer is complete: ${words} word${words === 1 ? "" : "s"}.`;
}

/**
 * Hand a file to the kernel, in pieces.
 * @param {Model} model @param {State} state @param {File} file
 */
async function upload(model, state, file) {
  if (file.size > LARGEST) {
    state.refused = `${file.name} has ${(file.size / 1e6).toFixed(1)} MB; at most 20 MB can be `
      + "attached. Make it smaller, or give its address on the web.";
    tellViews(state);
    return;
  }
  const id = Math.random().toString(36).slice(2);
  const kind = file.type.startsWith("image/") ? "image" : "file";
  const drawn = /^image\/(png|jpeg|gif|webp)$/.test(file.type);
  /** @type {Attached} */
  const waiting = { id, name: file.name || "pasted image", kind, extent: "" };
  if (drawn) waiting.url = URL.createObjectURL(file);
  state.files.push(waiting);
  state.refused = "";
  tellViews(state);
  const data = await file.arrayBuffer();
  for (let at = 0; at === 0 || at < data.byteLength; at += PIECE) {
    const last = at + PIECE >= data.byteLength;
    const content = { type: "attach", id, name: file.name, last };
    if (!tell(model, content, [data.slice(at, at + PIECE)])) {
      state.files.splice(state.files.indexOf(waiting), 1);
      state.refused = "The kernel has stopped. Run the cells of this notebook again.";
      tellViews(state);
      return;
    }
  }
}

/** @param {{ model: Model }} context */
function initialize({ model }) {
  const state = stateOf(model);
  const leave = listen(state, model, (message) => {
    const what = take(state, message);
    if (what === "kept") keep(state, model, message);
    return what;
  });
  const lost = () => {
    if (!state.live) return;
    state.turns.push({ ...state.live, html: state.live.html + state.live.tail, tail: "",
      status: "stopped", source_text: "", facts: ["stopped"], source_label: "",
      version: state.live.version + 1,
      error: "The kernel ended before the answer was finished. What had arrived is kept here." });
    state.live = null;
    state.stopping = false;
    tellViews(state, "lost");
  };
  model.on("comm_live_update", lost);
  // A second message after the first: from then on the kernel hears a click while a cell runs.
  const timer = setTimeout(() => tell(model, { type: "ping" }), 700);
  return () => {
    clearTimeout(timer);
    leave();
    model.off("comm_live_update", lost);
    STATES.delete(model.get("_chat_id"));
  };
}

export default { initialize, render };
