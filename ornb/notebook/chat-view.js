/**
 * What the parts of one view of a chat share.
 *
 * @typedef {import("./kernel.js").Model} Model
 */

import { stateOf } from "./chat-state.js";
import { make } from "./elements.js";
import { SLOW_MS, tell, tellViews } from "./kernel.js";

export const NO_KERNEL = "The kernel has stopped. Run the cells of this notebook again.";
const NEAR_PX = 32;
const SAID_MS = 60_000;                      // what is said aloud stands in the log too: read there

export class View {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.state = stateOf(model);
    this.el = el;
    this.box = make("textarea", {
      rows: 1, ariaLabel: "Message to the model", placeholder: "Ask anything", spellcheck: true,
    });
    // Not live itself: a screen reader would read every piece. The status tells it of the start of an
    // answer, and `spoken` of its paragraphs as they are finished, of a tool that asks, and of its end.
    this.log = make("div", {
      className: "log", role: "log", tabIndex: 0, ariaLabel: "Conversation", ariaLive: "off",
    });
    this.spoken = make("div", { className: "unseen", ariaLive: "polite", "aria-relevant": "additions" });
    /** @type {string | null}  label of the arrow that was pressed to see another version */
    this.pressed = null;
    this.slow = false;
    this.timer = 0;
    this.drawStatus = () => {};
  }

  focused() { return /** @type {Document} */ (this.el.getRootNode()).activeElement; }

  /** Newest turns are what one reads, or one reads further up. */
  isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  isRunning() { return this.state.live !== null; }

  /** @param {string} text */
  aloud(text) {
    const piece = make("p", { textContent: text });
    this.spoken.append(piece);
    setTimeout(() => piece.remove(), SAID_MS);
  }

  /** @param {string} text  why what was asked for is not done */
  refuse(text) {
    this.state.refused = text;
    tellViews(this.state);
  }

  /** Hand on what was pressed in the conversation. @param {object} content */
  say(content) {
    const { type } = /** @type {any} */ (content);
    this.pressed = type === "go" ? document.activeElement?.ariaLabel ?? null : null;
    if (this.isRunning() && type !== "allow") return;
    // What was pressed is about to be disabled or replaced, and would drop the focus.
    if (type !== "go" && this.log.matches(":focus-within")) this.box.focus({ preventScroll: true });
    if (!tell(this.model, content)) this.refuse(NO_KERNEL);
  }

  /** Say what holds the kernel up if nothing comes of a click. */
  expectSoon() {
    this.slow = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.slow = true; this.drawStatus(); }, SLOW_MS);
  }
}

/** @param {KeyboardEvent} event */
export const saves = (event) => (event.ctrlKey || event.metaKey) && event.key === "s";
