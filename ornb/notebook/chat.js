/**
 * Chat in the page: draws what the kernel says, sends what the person types.
 *
 * The kernel numbers its messages. An answer arrives as changes to its HTML; a message out of turn
 * makes the page ask for the whole. HTML comes only from the kernel's sanitiser, everything else
 * goes in as text.
 *
 * @typedef {import("./kernel.js").Model} Model
 */

import { iconButton } from "./chat-buttons.js";
import { Composer, takeDrops, waitingFiles } from "./chat-composer.js";
import { exportPart, saveFile } from "./chat-export.js";
import { keep } from "./chat-kept.js";
import { Log } from "./chat-log.js";
import { ModelPart } from "./chat-model.js";
import { settingsElement } from "./chat-settings.js";
import { stateOf, take } from "./chat-state.js";
import { View, saves } from "./chat-view.js";
import { hideStatic, make, setText } from "./elements.js";
import { PAGE, forgetState, hello, listen, tell, tellViews } from "./kernel.js";

/** Why new answers are not saved, where they are not. @param {View} view */
function staleNote({ state }) {
  const element = make("details", { className: "stale" },
    make("summary", { textContent:
      "From this page new answers are not saved in the notebook. How to mend it" }),
    make("p", { textContent:
      "The page was loaded again, or the output that stays was removed, or a newer page saves. "
      + "Run the cell that shows this chat once more: it comes back with all its messages, and "
      + "saves again. Or keep a copy with chat.conversation.save(\"chat.json\"), which "
      + "Chat.reopen(\"chat.json\") goes on with." }));
  const draw = () => {
    const unsaved = state.lost || (state.page && state.page !== PAGE);
    element.hidden = !unsaved || state.turns.length === 0;
  };
  return { element, draw };
}

/** Settings, and the button that opens them. @param {View} view */
function settingsPart({ model, state }) {
  const drawer = settingsElement(model, state);
  const gear = iconButton("settings", "Settings", () => {
    drawer.root.hidden = !drawer.root.hidden;
    gear.ariaExpanded = String(!drawer.root.hidden);
    if (!drawer.root.hidden) drawer.open();
  }, "gear");
  gear.ariaExpanded = "false";
  /** @param {KeyboardEvent} event  Escape closes it */
  const onKey = (event) => {
    if (event.key !== "Escape" || !drawer.root.contains(/** @type {Node} */ (event.target))) return;
    gear.click();
    gear.focus();
  };
  return { ...drawer, gear, onKey };
}

/** What goes on, in a line. @param {View} view @param {object} [asks]  a tool's call that waits for an answer */
function newsOf({ state, slow }, asks) {
  if (state.sending && slow) return "The kernel is busy or has stopped; your message is kept";
  if (state.exporting && slow) return "The kernel is busy; the file comes when it is free";
  if (state.stopping) return slow ? "The kernel is busy; interrupting it stops at once" : "Stopping …";
  if (asks) return "Waiting for you";
  return state.live ? "Answering …" : "";
}

/** By what service, and what goes on. @param {View} view */
function topPart(view) {
  const { model, state } = view;
  const service = make("span", { className: "badge" });
  const status = make("span", { className: "status", role: "status" });
  const banner = make("p", { className: "trouble", role: "alert" });
  /** @type {string | undefined} */
  let asked;                                 // the tool's call that was said to wait for an answer
  const draw = () => {
    const where = model.get("service");
    service.textContent = where;
    service.hidden = !where;
    service.classList.toggle("other", where === "offline");
    const trouble = state.refused || model.get("error");
    banner.textContent = trouble;
    banner.hidden = !trouble;
    const asks = state.live?.steps?.find((step) => step.state === "asking");
    setText(status, newsOf(view, asks));
    if (asks && asks.id !== asked) {
      view.aloud(`The model asks to run ${asks.name}. `
        + (state.live?.blocking ? "Answer in the cell that asks." : "Run or refuse it in its answer."));
    }
    asked = asks?.id;
  };
  return { elements: [service, status, view.spoken], banner, draw };
}

/** What is to be known of the answers, such as that a tiny model gave them: once, not under each. @param {View} view */
function notesPart({ state }) {
  const element = make("p", { className: "notes", hidden: true });
  const draw = () => {
    const notes = state.turns.map((turn) => ("note" in turn && turn.note) || "").filter(Boolean);
    setText(element, [...new Set(notes)].join("\n"));
    element.hidden = notes.length === 0;
  };
  return { element, draw };
}

/** JupyterLab's shortcuts: what is typed here is for the chat alone. @param {View} view @param {KeyboardEvent} event */
function keepKeys({ el }, event) {
  const typing = /** @type {HTMLElement} */ (event.target).matches("input, textarea, select");
  if (saves(event)) {                        // the one shortcut that is meant for the notebook
    delete el.dataset.lmSuppressShortcuts;
    setTimeout(() => { el.dataset.lmSuppressShortcuts = "true"; });
  } else if (typing) {
    event.stopPropagation();
  }
}

/** Draw what the kernel tells, in the next frame. @param {View} view @param {any} parts */
function drawing(view, { log, composer, waiting, settings, chosen, plain }) {
  const { el, model, spoken, state } = view;
  let frameRequest = 0;
  let ended = false;
  /** @type {(() => void) | null} */
  let reveal = null;
  view.drawStatus = () => {
    composer.draw();
    log.drawButtons();
    for (const part of plain) part.draw();
  };
  const draw = () => {
    frameRequest = 0;
    el.classList.toggle("unheard", state.seq < 0);
    log.draw();
    const last = state.turns.at(-1);
    // After its last words; by now it may have been taken away.
    if (ended && last && "status" in last) view.aloud(endInWords(last));
    ended = false;
    view.drawStatus();
    waiting.draw();
    log.keepFocus();
  };
  /** @param {string} [what] */
  const changed = (what) => {
    if (what === "state") reveal ??= hideStatic(model.get("_lasting_id"));
    if (what === "settings") {
      settings.draw();
      chosen.told();
    }
    if (what === "asked") {
      spoken.replaceChildren();
      log.toEnd = true;
      composer.taken();
    }
    if (what === "done") composer.ended();
    if (what === "done" || what === "asked") ended = what === "done";
    frameRequest ||= requestAnimationFrame(draw);
  };
  const end = () => {
    cancelAnimationFrame(frameRequest);
    reveal?.();
  };
  return { draw, changed, end };
}

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const view = new View(model, el);
  const { state } = view;
  const [log, composer, top] = [new Log(view), new Composer(view), topPart(view)];
  const [stale, waiting, settings] = [staleNote(view), waitingFiles(view), settingsPart(view)];
  const [copies, notes, chosen] = [exportPart(view), notesPart(view), new ModelPart(view)];
  const frame = make("section", { className: "frame", ariaLabel: "Chat" },
    make("header", { className: "top" }, chosen.button, ...top.elements, copies.opener, settings.gear),
    chosen.root, copies.element, settings.root, stale.element, log.element, top.banner, waiting.element,
    composer.element, notes.element);
  takeDrops(frame, composer);
  frame.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    keepKeys(view, event);
    settings.onKey(event);
  });
  el.classList.add("ornb-chat");
  el.dataset.lmSuppressShortcuts = "true";   // JupyterLab: keys typed here are not its shortcuts
  el.append(frame);

  const { draw, changed, end } = drawing(view,
    { log, composer, waiting, settings, chosen, plain: [top, chosen, stale, copies, notes] });
  const redraw = () => view.drawStatus();
  const traits = ["model", "service", "error", "_default_model"].map((trait) => `change:${trait}`);
  for (const event of traits) model.on(event, redraw);
  state.views.add(changed);
  hello(state, model);
  draw();
  return () => {
    state.views.delete(changed);
    for (const event of traits) model.off(event, redraw);
    clearTimeout(view.timer);
    end();
  };
}

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

/** @param {{ model: Model }} context */
function initialize({ model }) {
  const state = stateOf(model);
  const leave = listen(state, model, (message) => {
    const what = take(state, message);
    if (what === "kept") keep(state, model, message);
    if (what === "exported") saveFile(message);
    return what;
  });
  const lost = () => {
    state.exporting = "";
    if (!state.live) {
      tellViews(state, "lost");
      return;
    }
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
    forgetState(model.get("_lasting_id"));
  };
}

export default { initialize, render };
