/**
 * The conversation in a view of a chat.
 *
 * @typedef {import("./chat-state.js").Answer} Answer
 * @typedef {import("./chat-state.js").Question} Question
 *
 * @typedef {{ root: HTMLElement, update?: (answer: any, live: boolean) => void }} Shown  of a turn
 */

import { answerElement, questionElement } from "./chat-turns.js";
import { View } from "./chat-view.js";
import { icon, make } from "./elements.js";

const DOWN = "M8 3v9.5M4 8.7l4 4 4-4";

export class Log {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    /** @type {Map<string, Shown>} */
    this.shown = new Map();
    this.toEnd = true;
    this.jump = make("button", { type: "button", className: "plain small jump", hidden: true,
      onclick: () => this.goToEnd() }, icon(DOWN), "Jump to newest");
    const empty = make("p", { className: "empty", textContent: "No messages yet." });
    this.element = make("div", { className: "talk" }, empty, view.log, this.jump);
    view.log.onscroll = () => this.drawJump();
    new ResizeObserver(() => this.drawJump()).observe(view.log);
  }

  goToEnd() {
    const { log } = this.view;
    log.scrollTop = log.scrollHeight;
    log.focus({ preventScroll: true });      // the button goes
    this.drawJump();
  }

  drawJump() { this.jump.hidden = this.view.isAtEnd(); }

  /** Draw the turns: what is there already stays, and what one reads does not move. */
  draw() {
    const { box, log, state } = this.view;
    const atEnd = this.toEnd || this.view.isAtEnd();
    const wanted = state.live ? [...state.turns, state.live] : state.turns;
    const held = log.matches(":focus-within");
    this.keep(new Set(wanted.map(({ key }) => key)));
    for (const turn of wanted) this.elementOf(turn).update?.(turn, turn === state.live);
    log.hidden = wanted.length === 0;
    if (held && !log.matches(":focus-within")) (log.hidden ? box : log).focus({ preventScroll: true });
    if (atEnd) log.scrollTop = log.scrollHeight;
    this.toEnd = false;
    this.drawJump();
  }

  /** @param {Set<string>} keys */
  keep(keys) {
    for (const [key, { root }] of this.shown) {
      if (!keys.has(key)) {
        root.remove();
        this.shown.delete(key);
      }
    }
  }

  /** @param {Question | Answer} turn @returns {Shown} */
  elementOf(turn) {
    const { view, shown } = this;
    const known = shown.get(turn.key);
    if (known) return known;
    /** @param {object} content */
    const say = (content) => view.say(content);
    const element = turn.role === "user"
      ? { root: questionElement(/** @type {Question} */ (turn), say) }
      : answerElement(/** @type {Answer} */ (turn), say, (text) => view.aloud(text));
    shown.set(turn.key, element);
    view.log.append(element.root);
    return element;
  }

  /** What would change the conversation can't be pressed while an answer is written. */
  drawButtons() {
    const { log, model, pressed } = this.view;
    const focused = this.view.focused();
    for (const button of log.querySelectorAll("button.change")) {
      const off = this.view.isRunning() || button.dataset.end === "true";
      if (off && button === focused && !pressed) log.focus({ preventScroll: true });
      if (button.disabled !== off) button.disabled = off;
    }
    const next = model.get("model");
    for (const button of log.querySelectorAll("button.again")) {
      const other = next && next !== button.dataset.model ? ` with ${next}` : "";
      const label = `Try again${other}`;
      if (button.title !== label) button.title = button.ariaLabel = label;
    }
  }

  /** After a switch the arrow that was pressed keeps the focus, or the other one at the end. */
  keepFocus() {
    const { state, pressed } = this.view;
    if (pressed && state.moved) {
      const key = state.turns.find(({ id }) => id === state.moved)?.key ?? "";
      const found = this.shown.get(key)?.root.querySelectorAll(".versions button:enabled") ?? [];
      const arrows = /** @type {HTMLElement[]} */ ([...found]);
      const arrow = arrows.find(({ ariaLabel }) => ariaLabel === pressed) ?? arrows[0];
      arrow?.focus({ preventScroll: true });
      this.view.pressed = null;
    }
    state.moved = null;
  }
}
