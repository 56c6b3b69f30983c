/**
 * Questions and answers in the page.
 *
 * @typedef {import("./chat-state.js").Answer} Answer
 * @typedef {import("./chat-state.js").Attached} Attached
 * @typedef {import("./chat-state.js").Question} Question
 * @typedef {import("./chat-state.js").Step} Step
 */

import { copyButton, iconButton } from "./chat-buttons.js";
import { make, setText } from "./elements.js";
import { growingElements, inWords, safe } from "./text.js";

/** Words of an answer that are said aloud as it arrives, and those of one paragraph. */
const MOST_ALOUD = 150;
const MOST_OF_BLOCK = 50;

/**
 * "2 / 3" between two arrows, where a turn has siblings.
 * @param {Question | Answer} turn @param {(content: object) => void} say
 */
function switcher(turn, say) {
  const ids = turn.branches ?? [];
  const here = ids.indexOf(turn.id ?? "");
  if (here < 0) return [];
  const go = (/** @type {number} */ to) => () => say({ type: "go", turn: ids[to] });
  const back = iconButton("back", "Version before", go(here - 1), "change");
  const on = iconButton("on", "Next version", go(here + 1), "change");
  back.dataset.end = String(here === 0);
  on.dataset.end = String(here === ids.length - 1);
  back.disabled = here === 0;
  on.disabled = here === ids.length - 1;
  return [make("span", { className: "versions", role: "group", ariaLabel: "Versions" }, back,
    make("span", { textContent: `${here + 1} / ${ids.length}` }), on)];
}

/** A picture, or the name of a file. @param {Attached} file @param {Node[]} more */
export function fileElement(file, ...more) {
  const drawn = file.url && file.kind === "image";
  const label = file.extent ? `${file.name}, ${file.extent}` : file.name;
  return make("span", { className: drawn ? "file picture" : "file", title: label },
    drawn ? make("img", { src: file.url, alt: file.name })
      : make("span", { className: "label" }, make("b", { textContent: file.name }),
        make("small", { textContent: file.extent })), ...more);
}

/** @param {Question} turn @param {(content: object) => void} say */
export function questionElement(turn, say) {
  const bubble = make("div", { className: "bubble", textContent: turn.text, hidden: !turn.text });
  const edit = iconButton("edit", "Edit, and go on from here", () => editing(), "change");
  edit.hidden = Boolean(turn.cut);
  const actions = make("div", { className: "actions" }, edit,
    copyButton(() => turn.text, "Copy text"), ...switcher(turn, say));
  const files = make("div", { className: "files" }, ...(turn.files ?? []).map((f) => fileElement(f)));
  files.hidden = !turn.files?.length;
  const root = make("article", { className: "turn asked", ariaLabel: "You" }, files,
    make("div", { className: "line" }, actions, bubble));

  const editing = () => {
    const box = make("textarea", { value: turn.text, ariaLabel: "New wording" });
    const send = make("button", { type: "submit", className: "send small", textContent: "Send" });
    const cancel = make("button", { type: "button", className: "plain small", textContent: "Cancel" });
    const form = make("form", { className: "edit" }, box,
      make("div", { className: "row" }, make("small", { textContent: "The conversation goes on "
        + "from here; what was said before is kept." }), cancel, send));
    const end = () => {
      form.remove();
      bubble.hidden = !turn.text;
      actions.hidden = false;
      edit.focus();
    };
    cancel.onclick = end;
    form.onsubmit = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (box.value.trim() || turn.files?.length) {
        end();
        say({ type: "edit", turn: turn.id, text: box.value });
      }
    };
    box.onkeydown = (/** @type {KeyboardEvent} */ event) => {
      event.stopPropagation();
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      } else if (event.key === "Escape") {
        end();
      }
    };
    bubble.hidden = actions.hidden = true;
    root.append(form);
    box.style.height = `${Math.min(box.scrollHeight + 2, 260)}px`;
    box.focus();
  };
  return root;
}

const ENDS = { ok: "done", refused: "not allowed", failed: "failed", invalid: "wrong arguments",
  unknown: "no such tool", stopped: "stopped", running: "running …", asking: "may it run?" };

/** Text that scrolls where it is long, with the keyboard too. @param {string} label @param {string} text */
const long = (label, text) => make("pre", { tabIndex: 0, role: "group", ariaLabel: label,
  textContent: text });

/** One call of a tool. @param {Step} step @param {boolean} blocking @param {(c: object) => void} say */
function stepElement(step, blocking, say) {
  const asking = step.state === "asking";
  const state = step.state ?? "ok";
  const line = make("summary", {}, make("code", { textContent: step.name }),
    make("span", { className: "args", textContent: step.arguments.replace(/^\{\}$/, "") }),
    make("span", { className: "end", textContent: ENDS[/** @type {"ok"} */ (state)] ?? state }));
  const body = make("div", { className: "inside" });
  if (step.arguments && step.arguments !== "{}") {
    body.append(make("small", { textContent: "Arguments" }), long("Arguments", step.arguments));
  }
  if (step.result) {
    body.append(make("small", { textContent: "Result" }), long("Result", step.result));
  }
  const root = make("details", { className: `step ${state}`, open: asking }, line, body);
  if (asking && blocking) {
    body.append(make("p", { textContent: "Answer in the cell that asks." }));
  } else if (asking) {
    const answer = (/** @type {boolean} */ yes) => () => {
      run.disabled = refuse.disabled = true;
      say({ type: "allow", id: step.id, yes });
    };
    const run = make("button", { type: "button", className: "send small", textContent: "Run" });
    const refuse = make("button", { type: "button", className: "plain small",
      textContent: "Refuse" });
    run.onclick = answer(true);
    refuse.onclick = answer(false);
    body.append(make("div", { className: "row" },
      make("span", { textContent: "The model asks to run this function of yours." }), refuse, run));
  }
  return root;
}

/** @param {{ number: number, title: string, url: string, host: string }[]} sources */
const sourceElements = (sources) => sources.filter(({ url }) => /^https?:/i.test(url)).map((one) =>
  make("li", { value: one.number }, make("a", { href: one.url, target: "_blank",
    rel: "noopener noreferrer nofollow", textContent: one.title }),
  make("small", { className: "ornb-host", textContent: ` ${one.host}` })));

/** Tells those who hear the page of finished blocks, up to a minute's speech: a long answer is read where it stands. */
class Speaker {
  /** @param {(text: string) => void} aloud */
  constructor(aloud) {
    this.aloud = aloud;
    this.begun = false;
    this.blocks = 0;                         // of which they have been told
    this.words = 0;
  }

  /** @param {Element} done  what is there at first was heard before */
  tell(done) {
    for (const block of [...done.children].slice(this.blocks)) {
      this.blocks += 1;
      if (!this.begun || this.words >= MOST_ALOUD) continue;
      const text = inWords(block, MOST_OF_BLOCK);
      this.words += text.split(" ").length;
      if (text) this.aloud(text);
      if (this.words >= MOST_ALOUD) this.aloud("The rest is in the conversation.");
    }
    this.begun = true;
  }
}

/** The calls of tools in an answer; one is drawn anew when it is another. @param {(content: object) => void} say */
function stepsPart(say) {
  const element = make("div", { className: "steps", hidden: true });
  /** @type {string[]} */
  const drawn = [];
  /** @param {Answer} answer */
  const update = (answer) => {
    (answer.steps ?? []).forEach((step, place) => {
      const now = JSON.stringify(step);
      if (drawn[place] === now) return;
      const fresh = stepElement(step, Boolean(answer.blocking), say);
      const before = element.children[place];
      const held = before?.matches(":focus-within");
      if (before) before.replaceWith(fresh);
      else element.append(fresh);
      if (held) fresh.firstElementChild.focus({ preventScroll: true });
      drawn[place] = now;
    });
    element.hidden = drawn.length === 0;
  };
  return { element, update };
}

/** Who answered and for how much, and what can be done with it. @param {Answer} answer @param {(content: object) => void} say */
function footChildren(answer, say) {
  const pieces = [answer.provider, ...(answer.facts ?? [])].filter(Boolean);
  const again = iconButton("again", "Try again", () => say({ type: "again", turn: answer.id }),
    "change again");
  again.dataset.model = answer.asked_model ?? "";
  return [
    make("span", { className: `badge ${answer.source_label === "live" ? "live" : "other"}`,
      textContent: answer.source_label ?? "", hidden: !answer.source_label }),
    ...pieces.map((piece) => make("span", { textContent: piece })),
    make("span", { className: "actions" },
      copyButton(() => answer.source_text ?? "", "Copy text"), again, ...switcher(answer, say)),
  ];
}

/** What stands over the reasoning: that it goes on, or how long it took. @param {Answer} answer @param {boolean} thinks */
function thoughtTitle(answer, thinks) {
  if (thinks) return "Thinking …";
  const known = answer.thought ?? (answer.began && answer.spoke && answer.spoke > answer.began
    ? `${((answer.spoke - answer.began) / 1000).toFixed(1)} s` : "");
  return known ? `Thought for ${known}` : "Reasoning";
}

/** An answer's element, which is brought up to date until it is over. */
class AnswerView {
  /** @param {(content: object) => void} say @param {(text: string) => void} aloud */
  constructor(say, aloud) {
    this.say = say;
    this.speaker = new Speaker(aloud);
    this.steps = stepsPart(say);
    this.parts = growingElements();
    this.who = make("span", { className: "name" });
    this.error = make("p", { className: "trouble", hidden: true });
    this.foot = make("footer", { className: "facts", hidden: true });
    this.sources = make("ol", { className: "sources", ariaLabel: "Sources", hidden: true });
    const { reasoning, done, tail, wait } = this.parts;
    this.root = make("article", { className: "turn answer", ariaLabel: "Answer" },
      make("header", {}, this.who), reasoning, this.steps.element,
      make("div", { className: "ornb-text" }, done, tail, wait), this.sources, this.error, this.foot);
    this.version = -1;
    this.drawn = 0;
    this.drawnTail = "";
    this.over = false;
  }

  /** @param {Answer} answer @param {boolean} live */
  update(answer, live) {
    if (this.over) return;
    this.write(answer);
    const { reasoning, summary, wait } = this.parts;
    const speaks = Boolean(answer.html || answer.tail);
    const thinks = live && !speaks;
    reasoning.hidden = !answer.think;
    this.root.classList.toggle("thinking", thinks && Boolean(answer.think));
    setText(summary, thoughtTitle(answer, thinks));
    this.steps.update(answer);
    const open = (answer.steps ?? []).some(({ state }) => state === "asking" || state === "running");
    wait.hidden = !live || speaks || Boolean(answer.think) || open;
    this.who.textContent = answer.who || "Model";
    this.root.classList.toggle("live", live);
    this.root.ariaBusy = String(live);
    if (!live) this.finish(answer);
  }

  /** What has come of the text. @param {Answer} answer */
  write(answer) {
    const { thought, done, tail } = this.parts;
    if (this.version !== answer.version) {
      done.replaceChildren();
      this.drawn = 0;
      this.version = answer.version;
    }
    if (answer.html.length > this.drawn) {
      done.append(safe(answer.html.slice(this.drawn)));
      this.drawn = answer.html.length;
    }
    this.speaker.tell(done);
    if (this.drawnTail !== answer.tail) {
      tail.replaceChildren(safe(answer.tail));
      this.drawnTail = answer.tail;
    }
    const missing = answer.think.slice(thought.textContent.length);
    if (missing) thought.append(missing);
  }

  /** @param {Answer} answer */
  finish(answer) {
    this.over = true;
    this.sources.replaceChildren(...sourceElements(answer.sources ?? []));
    this.sources.hidden = this.sources.children.length === 0;
    if (answer.pictures) this.parts.done.append(safe(answer.pictures));
    this.error.textContent = answer.error ?? "";
    this.error.hidden = !answer.error;
    this.foot.replaceChildren(...footChildren(answer, this.say));
    this.foot.hidden = false;
  }
}

/**
 * An answer's element, and how to bring it up to date.
 * @param {Answer} first @param {(content: object) => void} say
 * @param {(text: string) => void} aloud  tells those who hear the page what is new
 */
export function answerElement(first, say, aloud) {
  const view = new AnswerView(say, aloud);
  view.update(first, true);
  return view;
}
