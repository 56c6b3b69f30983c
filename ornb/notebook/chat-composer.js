/**
 * Where a question is written: the box, its buttons, and the files that go with it.
 *
 * @typedef {import("./chat-state.js").Answer} Answer
 * @typedef {import("./chat-state.js").Attached} Attached
 * @typedef {import("./chat-state.js").Question} Question
 */

import { iconButton } from "./chat-buttons.js";
import { fileElement } from "./chat-turns.js";
import { NO_KERNEL, View, saves } from "./chat-view.js";
import { make } from "./elements.js";
import { tell, tellViews } from "./kernel.js";

const PIECE = 2_000_000;                     // bytes; Jupyter lets no message through above 10 MB
const LARGEST = 20_000_000;
const HIGHEST_PX = 200;

/** What a question says. @param {Question | Answer} [turn] */
const textOf = (turn) => (turn && "text" in turn ? turn.text : "");

export class Composer {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.send = make("button", { type: "submit", className: "send", textContent: "Send",
      title: "Enter sends, Shift+Enter makes a new line" });
    this.stop = make("button", { type: "button", className: "stop", textContent: "Stop",
      title: "Stop the answer and keep what has arrived (Escape)", onclick: () => this.halt() });
    const picked = make("input", { type: "file", multiple: true, hidden: true, tabIndex: -1,
      accept: "image/png,image/jpeg,image/gif,image/webp,application/pdf,audio/wav,audio/mpeg" });
    picked.onchange = () => {
      this.add(picked.files);
      picked.value = "";
      view.box.focus();
    };
    const attach = iconButton("attach", "Attach images or PDFs (or drop, or paste them)",
      () => picked.click(), "attach");
    this.element = make("form", { className: "composer" }, attach, picked, view.box, this.send, this.stop);
    this.element.onsubmit = (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      this.ask();
    };
    this.listen();
  }

  listen() {
    const { box, state } = this.view;
    box.onpaste = (/** @type {ClipboardEvent} */ event) => {
      const { files } = event.clipboardData ?? {};
      if (files?.length) {
        event.preventDefault();
        this.add(files);
      }
    };
    box.oninput = () => {
      this.fit();
      if (state.refused) this.view.refuse("");
    };
    box.onkeydown = (/** @type {KeyboardEvent} */ event) => {
      if (!saves(event)) event.stopPropagation();
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.ask();
      } else if (event.key === "Escape") {
        this.halt();
      }
    };
  }

  fit() {
    const { box } = this.view;
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight + 2, HIGHEST_PX)}px`;
  }

  ask() {
    const { box, model, state } = this.view;
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
      else state.refused = NO_KERNEL;
      this.view.expectSoon();
    }
    tellViews(state);
  }

  halt() {
    const { model, state } = this.view;
    if (!state.live || state.stopping) return;
    state.stopping = true;
    this.view.expectSoon();
    tell(model, { type: "stop" });
    tellViews(state);
  }

  /** @param {Iterable<File>} files */
  add(files) { for (const file of files) upload(this.view, file); }

  /** The kernel has the question: it needs to be kept here no longer. */
  taken() {
    const { box, state } = this.view;
    if (textOf(state.turns.at(-1)).trim() === box.value.trim()) box.value = "";
    this.fit();
  }

  /** An answer has ended; if nothing came, the question is not lost. */
  ended() {
    const { box, state } = this.view;
    const last = /** @type {Answer | undefined} */ (state.turns.at(-1));
    if (last?.status !== "error" || last.html || box.value) return;
    box.value = textOf(state.turns.at(-2));
    this.fit();
  }

  draw() {
    const { box, state } = this.view;
    const focused = this.view.focused();
    this.send.disabled = this.view.isRunning() || Boolean(state.sending);
    this.stop.disabled = !this.view.isRunning() || state.stopping;
    // A button that can't be pressed any more would drop the focus of who pressed it by key.
    if ([this.send, this.stop].some((button) => button === focused && button.disabled)) {
      box.focus({ preventScroll: true });
    }
    box.readOnly = Boolean(state.sending);
  }
}

/** The files that go with the next question, each with what takes it off. @param {View} view */
export function waitingFiles({ box, model, state }) {
  const element = make("div", { className: "files waiting", ariaLabel: "To be sent", role: "group",
    hidden: true });
  let drawn = "";
  const draw = () => {
    const now = state.files.map(({ id, ready }) => `${id} ${ready}`).join();
    if (drawn === now) return;
    drawn = now;
    element.replaceChildren(...state.files.map((file) => {
      const off = iconButton("close", `Remove ${file.name}`, () => {
        state.files = state.files.filter((one) => one !== file);
        tell(model, { type: "detach", id: file.id });
        tellViews(state);
        box.focus();
      }, "off");
      const shown = fileElement(file, off);
      shown.classList.toggle("loading", !file.ready);
      return shown;
    }));
    element.hidden = state.files.length === 0;
  };
  return { element, draw };
}

/** Let files be dropped anywhere on a view. @param {HTMLElement} frame @param {Composer} composer */
export function takeDrops(frame, composer) {
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    frame.addEventListener(kind, (/** @type {any} */ event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      const out = kind === "dragleave" && !frame.contains(event.relatedTarget);
      frame.classList.toggle("dropping", kind !== "drop" && !out);
      if (kind === "drop") composer.add(event.dataTransfer.files);
    });
  }
}

/** Hand a file to the kernel, in pieces. @param {View} view @param {File} file */
async function upload(view, file) {
  const { model, state } = view;
  if (file.size > LARGEST) {
    view.refuse(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; at most 20 MB can be `
      + "attached. Make it smaller, or give its address on the web.");
    return;
  }
  const id = Math.random().toString(36).slice(2);
  const kind = file.type.startsWith("image/") ? "image" : "file";
  const drawn = /^image\/(png|jpeg|gif|webp)$/.test(file.type);
  /** @type {Attached} */
  const waiting = { id, name: file.name || "pasted image", kind, extent: "" };
  if (drawn) waiting.url = URL.createObjectURL(file);
  state.files.push(waiting);
  view.refuse("");
  /** @param {string} why */
  const giveUp = (why) => {
    state.files = state.files.filter((one) => one !== waiting);
    view.refuse(why);
  };
  const data = await file.arrayBuffer().catch(() => null);
  if (data === null) {
    giveUp(`${waiting.name} cannot be read: it is a folder, or was moved. Choose a file.`);
    return;
  }
  for (let at = 0; at === 0 || at < data.byteLength; at += PIECE) {
    const last = at + PIECE >= data.byteLength;
    const content = { type: "attach", id, name: file.name, last };
    if (!tell(model, content, [data.slice(at, at + PIECE)])) {
      giveUp(NO_KERNEL);
      return;
    }
  }
}
