/**
 * Chat in the page: draws what the kernel says, sends what the person types.
 *
 * The kernel numbers its messages. An answer arrives as changes to its HTML; a message out of turn
 * makes the page ask for the whole. HTML comes only from the kernel's sanitiser, everything else
 * goes in as text.
 *
 * @typedef {object} Model  anywidget's model
 * @property {(name: string) => any} get
 * @property {(event: string, callback: (content?: any) => void) => void} on
 * @property {(event: string, callback: (content?: any) => void) => void} off
 * @property {(content: object, callbacks?: any, buffers?: ArrayBuffer[]) => void} send
 *
 * @typedef {object} Answer  of the model; `html` and `tail` are safe HTML, the rest is text
 * @property {string} key       of its element
 * @property {string} html      finished, only grows within one `version`
 * @property {string} tail      open, replaced as a whole
 * @property {string} think     reasoning, only grows
 * @property {number} version
 * @property {string} who
 * @property {string} [pictures]
 * @property {string} [provider]
 * @property {string} [source]
 * @property {string} [source_label]
 * @property {string[]} [facts]
 * @property {string} [note]
 * @property {string} [error]
 * @property {string} [status]
 * @property {string} role
 * @property {boolean} [blocking]  a cell waits for it, and may keep the kernel from hearing Stop
 * @property {string} [id]
 * @property {string[]} [branches]  ids of it and of its siblings, if it has any
 * @property {string} [asked_model]
 * @property {string} [source_text] the Markdown, for Copy
 * @property {string | null} [thought]  how long it thought
 * @property {number} [began]   when thinking began, in ms
 * @property {number} [spoke]   when the answer itself began, in ms
 * @property {Step[]} [steps]
 * @property {{ number: number, title: string, url: string, host: string }[]} [sources]
 *
 * @typedef {{ id: string, name: string, arguments: string, result: string, state?: string }} Step
 *   a tool's call; `state` is "asking", "running", or how it ended
 *
 * @typedef {{ id?: string, name: string, kind: string, extent: string, url?: string,
 *   ready?: boolean }} Attached
 *
 * @typedef {object} Question
 * @property {string} key
 * @property {string} id
 * @property {string} role
 * @property {string} text
 * @property {boolean} [cut]    too long to be shown whole
 * @property {Attached[]} [files]
 * @property {string[]} [branches]
 *
 * @typedef {object} State  of one chat in this page, shared by its views
 * @property {number} seq       of the newest message; -1 before the first
 * @property {number} epoch     counts the times that everything came anew
 * @property {(Question | Answer)[]} turns
 * @property {Answer | null} live
 * @property {string | null} page   the page in which the lasting output can still be updated
 * @property {string} sending   what was typed and is not yet taken by the kernel
 * @property {string} refused   why it was not taken
 * @property {boolean} stopping
 * @property {number} asked     when the whole was asked for last, in ms
 * @property {number} lives     counts the answers that were written in this page
 * @property {Attached[]} files  chosen, and not yet sent
 * @property {string[]} sent    ids of those that go with the question under way
 * @property {any} settings     what the drawer shows
 * @property {string | null} [moved]  id of the first turn of the branch that was gone to
 * @property {Set<(what?: string) => void>} views
 */

/** Names this load of the page: an output shown by an earlier load can't be updated any more. */
const PAGE = (globalThis.ornbPage ??= Math.random().toString(36).slice(2));
const SLOW_MS = 1500;
const PIECE = 2_000_000;                     // bytes; Jupyter lets no message through above 10 MB
const LARGEST = 20_000_000;

/** anywidget hands `initialize` and `render` different models over one state. @type {Map<string, State>} */
const STATES = new Map();

/** @param {Model} model @returns {State} */
function stateOf(model) {
  const id = model.get("_chat_id");
  let state = STATES.get(id);
  if (!state) {
    state = {
      seq: -1, epoch: 0, turns: [], live: null, page: null, sending: "", refused: "",
      stopping: false, asked: 0, lives: 0, files: [], sent: [], settings: null, views: new Set(),
    };
    STATES.set(id, state);
  }
  return state;
}

// --- what the kernel says ------------------------------------------------------------------------

/** @param {State} state @param {any} message @returns {string} what changed, "" for nothing, "gap" */
function take(state, message) {
  if (message.type === "state") {
    state.epoch += 1;
    state.seq = message.seq;
    state.page = message.page;
    state.turns = message.turns.map((turn) => keyed(state, turn));
    state.live = message.live && { ...emptyAnswer(state), ...message.live };
    state.stopping = false;
    return "state";
  }
  if (message.seq <= state.seq) return "";
  if (state.seq < 0 || message.seq !== state.seq + 1) return "gap";
  state.seq = message.seq;
  if (message.type === "asked" || message.type === "path") {
    const place = state.turns.findIndex(({ id }) => id === message.after);
    state.turns.splice(place + 1);
    state.turns.push(...message.turns.map((turn) => keyed(state, turn)));
    if (message.type === "path") {
      state.epoch += 1;                      // for the keys of turns that come back
      state.moved = message.turns[0]?.id ?? null;
      return "path";
    }
    state.live = { ...emptyAnswer(state), ...message.live };
    state.sending = state.refused = "";
    state.files = state.files.filter(({ id }) => !state.sent.includes(id ?? ""));
    state.sent = [];
    state.stopping = false;
  } else if (message.type === "delta" && state.live) {
    grow(state.live, message);
  } else if (message.type === "done" && state.live) {
    grow(state.live, message.change);
    state.turns.push({ ...state.live, ...message.turn, key: state.live.key, tail: "" });
    state.live = null;
    state.stopping = false;
  } else if (message.type === "tool" && state.live) {
    const steps = (state.live.steps ??= []);
    const place = steps.findIndex(({ id }) => id === message.call.id);
    steps.splice(place < 0 ? steps.length : place, 1, message.call);
  } else if (message.type === "refused") {
    state.refused = message.text;
    state.sending = "";
    state.sent = [];
  } else if (message.type === "attached") {
    takeFile(state, message);
  } else if (message.type === "settings") {
    state.settings = { ids: state.settings?.ids, ...message };
  } else {
    return "";
  }
  return message.type;
}

/** What became of a file that was handed to the kernel. @param {State} state @param {any} message */
function takeFile(state, message) {
  const file = state.files.find(({ id }) => id === message.id);
  if (!file) return;
  if (message.refused) {
    state.files.splice(state.files.indexOf(file), 1);
    state.refused = message.refused;
  } else {
    Object.assign(file, message.file, { ready: true });
  }
}

/** @param {State} state @returns {Answer} */
const emptyAnswer = (state) => ({
  key: `${state.epoch}.live${state.lives += 1}`, role: "assistant", html: "", tail: "", think: "",
  version: 0, who: "",
});

/** @param {State} state @param {any} turn */
const keyed = (state, turn) => ({
  ...(turn.role === "assistant" ? { tail: "", version: 0 } : {}), ...turn,
  key: `${state.epoch}.${turn.id}`,
});

/** Apply one change. @param {Answer} answer @param {any} change */
function grow(answer, change) {
  answer.think += change.think ?? "";
  if (answer.think) answer.began ??= performance.now();
  if (change.add || change.replace) answer.spoke ??= performance.now();
  if (change.replace !== undefined) {
    answer.html = change.replace;
    answer.tail = "";
    answer.version += 1;
    return;
  }
  const { tail } = answer;
  const next = tail.slice(0, change.keep) + change.add + tail.slice(tail.length - change.end);
  answer.html += next.slice(0, change.done);
  answer.tail = next.slice(change.done);
}

/**
 * Say something to the kernel; false when there is none any more.
 * @param {Model} model @param {object} content
 */
function tell(model, content) {
  try {
    model.send(content);
    return true;
  } catch {
    return false;
  }
}

/** @param {State} state @param {Model} model */
function hello(state, model) {
  state.asked = performance.now();
  tell(model, { type: "hello", page: PAGE });
}

// --- elements ------------------------------------------------------------------------------------

/**
 * @param {string} tag @param {Record<string, any>} [props] @param {...(Node | string)} children
 * @returns {any}
 */
function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Safe HTML from the kernel's sanitiser, with a Copy button on its code. @param {string} html */
function safe(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const code of template.content.querySelectorAll("pre.ornb-code")) {
    const language = /language-(\S+)/.exec(code.firstElementChild?.className ?? "")?.[1] ?? "";
    const copy = make("button", { type: "button", className: "copy", textContent: "Copy" });
    const box = make("div", { className: "codebox" }, make("div", { className: "codebar" },
      make("span", { textContent: language }), copy));
    code.replaceWith(box);
    box.append(code);
    copy.onclick = async () => {
      const done = await copied(code.textContent ?? "");
      copy.textContent = done ? "Copied" : "Press Ctrl+C";
      if (!done) getSelection()?.selectAllChildren(code);
      setTimeout(() => { copy.textContent = "Copy"; }, 1600);
    };
  }
  for (const image of template.content.querySelectorAll(".ornb-image:has(a[href^=http])")) {
    const link = /** @type {HTMLAnchorElement} */ (image.querySelector("a"));
    const load = make("button", { type: "button", className: "plain load",
      textContent: "Load image", title: `Fetch it from ${link.host}, which will know of it` });
    load.onclick = () => image.replaceWith(make("img", { src: link.href, alt: "Image from "
      + link.host, referrerPolicy: "no-referrer" }));
    image.append(" ", load);
  }
  return template.content;
}

/** The clipboard is closed to pages without TLS. @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

const ICONS = {
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  again: "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3",
  edit: "M3 13l.6-2.8 7.2-7.2 2.2 2.2-7.2 7.2z",
  attach: "M12.5 7.5 8 12a2.8 2.8 0 0 1-4-4l5-5a1.9 1.9 0 0 1 2.7 2.7L7 10.4a.9.9 0 0 1-1.3-1.3L9.8 5",
  settings: "M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6M10 2.7v3.6M6 9.7v3.6",
  back: "M10 3.5 5.5 8l4.5 4.5",
  on: "M6 3.5 10.5 8 6 12.5",
  close: "M4 4l8 8M12 4l-8 8",
};
const SVG = "http://www.w3.org/2000/svg";

/** @param {keyof typeof ICONS} name */
function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A small button with a picture on it.
 * @param {keyof typeof ICONS} name @param {string} label @param {() => void} act
 * @param {string} [kind]
 */
function iconButton(name, label, act, kind = "") {
  const button = make("button", { type: "button", className: `icon ${kind}`, ariaLabel: label,
    title: label }, icon(name));
  button.onclick = act;
  return button;
}

/** @param {() => string} text @param {string} label */
function copyButton(text, label) {
  const button = iconButton("copy", label, async () => {
    const done = await copied(text());
    button.title = button.ariaLabel = done ? "Copied" : "Select the text and press Ctrl+C";
    button.classList.toggle("good", done);
    setTimeout(() => {
      button.title = button.ariaLabel = label;
      button.classList.remove("good");
    }, 1600);
  });
  return button;
}

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
function fileElement(file, ...more) {
  const drawn = file.url && file.kind === "image";
  const label = file.extent ? `${file.name}, ${file.extent}` : file.name;
  return make("span", { className: drawn ? "file picture" : "file", title: label },
    drawn ? make("img", { src: file.url, alt: file.name })
      : make("span", { className: "label" }, make("b", { textContent: file.name }),
        make("small", { textContent: file.extent })), ...more);
}

/** @param {Question} turn @param {(content: object) => void} say */
function questionElement(turn, say) {
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
        say({ type: "edit", turn: turn.id, text: box.value });
        end();
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

/** One call of a tool. @param {Step} step @param {boolean} blocking @param {(c: object) => void} say */
function stepElement(step, blocking, say) {
  const asking = step.state === "asking";
  const state = step.state ?? "ok";
  const line = make("summary", {}, make("code", { textContent: step.name }),
    make("span", { className: "args", textContent: step.arguments.replace(/^\{\}$/, "") }),
    make("span", { className: "end", textContent: ENDS[/** @type {"ok"} */ (state)] ?? state }));
  const body = make("div", { className: "inside" });
  if (step.arguments && step.arguments !== "{}") {
    body.append(make("small", { textContent: "Arguments" }),
      make("pre", { textContent: step.arguments }));
  }
  if (step.result) {
    body.append(make("small", { textContent: "Result" }), make("pre", { textContent: step.result }));
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
  make("small", { textContent: ` ${one.host}` })));

/**
 * An answer's element, and how to bring it up to date.
 * @param {Answer} first @param {(content: object) => void} say
 */
function answerElement(first, say) {
  const who = make("span", { className: "name" });
  const thought = make("div", { className: "thought" });
  const summary = make("summary");
  const reasoning = make("details", { className: "reasoning", hidden: true }, summary, thought);
  const done = make("div", { className: "done" });
  const tail = make("div", { className: "tail" });
  const wait = make("div", { className: "wait", ariaLabel: "Waiting for the first word" },
    make("i"), make("i"), make("i"));
  const error = make("p", { className: "trouble", hidden: true });
  const foot = make("footer", { className: "facts", hidden: true });
  const sources = make("ol", { className: "sources", ariaLabel: "Sources", hidden: true });
  const steps = make("div", { className: "steps", hidden: true });
  /** @type {string[]} */
  const drawnSteps = [];
  const root = make("article", { className: "turn answer", ariaLabel: "Answer" },
    make("header", {}, who), reasoning, steps,
    make("div", { className: "ornb-text" }, done, tail, wait), sources, error, foot);
  let version = -1;
  let drawn = 0;
  let shownTail = "";
  let over = false;

  /** @param {Answer} answer @param {boolean} live */
  const update = (answer, live) => {
    if (over) return;
    if (version !== answer.version) {
      done.replaceChildren();
      drawn = 0;
      version = answer.version;
    }
    if (answer.html.length > drawn) {
      done.append(safe(answer.html.slice(drawn)));
      drawn = answer.html.length;
    }
    if (shownTail !== answer.tail) {
      tail.replaceChildren(safe(answer.tail));
      shownTail = answer.tail;
    }
    const missing = answer.think.slice(thought.textContent.length);
    if (missing) thought.append(missing);
    reasoning.hidden = !answer.think;
    const speaks = Boolean(answer.html || answer.tail);
    const thinks = live && !speaks;
    root.classList.toggle("thinking", thinks && Boolean(answer.think));
    const known = answer.thought ?? (answer.began && answer.spoke && answer.spoke > answer.began
      ? `${((answer.spoke - answer.began) / 1000).toFixed(1)} s` : "");
    const title = thinks ? "Thinking …" : known ? `Thought for ${known}` : "Reasoning";
    if (summary.textContent !== title) summary.textContent = title;
    drawSteps(answer);
    const open = (answer.steps ?? []).some(({ state }) => state === "asking" || state === "running");
    wait.hidden = !live || speaks || Boolean(answer.think) || open;
    who.textContent = answer.who || "Model";
    root.classList.toggle("live", live);
    root.ariaBusy = String(live);
    if (!live) {
      over = true;
      finish(answer);
    }
  };

  /** @param {Answer} answer */
  const drawSteps = (answer) => {
    (answer.steps ?? []).forEach((step, place) => {
      const now = JSON.stringify(step);
      if (drawnSteps[place] === now) return;
      const element = stepElement(step, Boolean(answer.blocking), say);
      if (place < drawnSteps.length) steps.children[place].replaceWith(element);
      else steps.append(element);
      drawnSteps[place] = now;
    });
    steps.hidden = drawnSteps.length === 0;
  };

  /** @param {Answer} answer */
  const finish = (answer) => {
    sources.replaceChildren(...sourceElements(answer.sources ?? []));
    sources.hidden = sources.children.length === 0;
    if (answer.pictures) done.append(safe(answer.pictures));
    error.textContent = answer.error ?? "";
    error.hidden = !answer.error;
    // Offline the badge says who answered, and the note says it again.
    const provider = ["live", "recorded"].includes(answer.source ?? "") ? answer.provider : "";
    const pieces = [provider, ...(answer.facts ?? [])].filter(Boolean);
    foot.replaceChildren(
      make("span", { className: `badge ${answer.source === "live" ? "live" : "other"}`,
        textContent: answer.source_label ?? "", hidden: !answer.source_label }),
      ...pieces.map((piece) => make("span", { textContent: piece })),
    );
    const again = iconButton("again", "Try again", () => say({ type: "again", turn: answer.id }),
      "change again");
    again.dataset.model = answer.asked_model ?? "";
    foot.append(make("span", { className: "actions" },
      copyButton(() => answer.source_text ?? "", "Copy text"), again,
      ...switcher(answer, say)));
    if (answer.note) foot.append(make("span", { className: "note", textContent: answer.note }));
    foot.hidden = false;
  };

  update(first, true);
  return { root, update };
}

/** Hide the ordinary output of this chat for as long as the live one is shown. @param {string} id */
function hideStatic(id) {
  const style = make("style", { textContent:
    `.jp-OutputArea-child:has(.ornb-static-${id}), .ornb-static-${id} { display: none }` });
  document.head.append(style);
  return () => style.remove();
}

// --- a view --------------------------------------------------------------------------------------

/** @param {{ model: Model, el: HTMLElement }} context */
function render({ model, el }) {
  const state = stateOf(model);
  const name = make("span", { className: "model" });
  const service = make("span", { className: "badge" });
  const status = make("span", { className: "status", role: "status" });
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
      "This page was loaded again: new answers are not saved in the notebook. How to mend it" }),
    make("p", { textContent:
      "Run the cell that shows this chat once more: it comes back with all its messages, and "
      + "saves again. Or keep a copy with chat.conversation.save(\"chat.json\"), which "
      + "Chat.reopen(\"chat.json\") goes on with." }));
  const log = make("div", {
    className: "log", role: "log", tabIndex: 0, ariaLabel: "Conversation", ariaLive: "polite",
  });
  /** @type {string | null} */
  let pressed = null;
  /** @param {object} content */
  const say = (content) => {
    const { type } = /** @type {any} */ (content);
    pressed = type === "go" ? document.activeElement?.ariaLabel ?? null : null;
    if (state.live && type !== "allow") return;
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
    make("header", { className: "top" }, name, service, status, gear), composer, waiting, banner,
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
  let slow = false;
  let slowTimer = 0;

  const drawLog = () => {
    const atEnd = toEnd || log.scrollHeight - log.scrollTop - log.clientHeight < 32;
    const wanted = state.live ? [...state.turns, state.live] : state.turns;
    const keys = new Set(wanted.map(({ key }) => key));
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
          : answerElement(/** @type {Answer} */ (turn), say);
        shown.set(turn.key, element);
        log.append(element.root);
      }
      element.update?.(turn, turn === state.live);
    }
    log.hidden = wanted.length === 0;
    if (atEnd) log.scrollTop = log.scrollHeight;
    toEnd = false;
  };

  const drawStatus = () => {
    const running = state.live !== null;
    send.disabled = running || Boolean(state.sending);
    stop.disabled = !running || state.stopping;
    for (const button of log.querySelectorAll("button.change")) {
      if (button.disabled !== (running || button.dataset.end === "true")) {
        button.disabled = running || button.dataset.end === "true";
      }
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
    stale.hidden = !state.page || state.page === PAGE || state.turns.length === 0;
    const asks = state.live?.steps?.some((step) => step.state === "asking");
    const news = state.sending && slow
      ? "The kernel is busy or has stopped; your message is kept"
      : state.stopping ? "Stopping …"
        : asks ? "Waiting for you"
        : state.live?.blocking ? "Answering in a cell; interrupting the kernel stops it at once"
          : running ? "Answering …" : "";
    if (status.textContent !== news) status.textContent = news;
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
    drawLog();
    drawStatus();
    drawFiles();
    if (pressed && state.moved) keepFocus();
    state.moved = null;
  };

  /** @param {string} [what] */
  const changed = (what) => {
    if (what === "state") reveal ??= hideStatic(model.get("_chat_id"));
    if (what === "settings") drawer.draw();
    if (what === "asked") {
      if (state.turns.at(-1)?.text?.trim() === box.value.trim()) box.value = "";
      toEnd = true;
      fit();
    }
    const last = state.turns.at(-1);
    if (what === "done" && last?.status === "error" && !last.html && !box.value) {
      box.value = state.turns.at(-2)?.text ?? "";      // nothing came: the question is not lost
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
      slow = false;
      clearTimeout(slowTimer);
      slowTimer = setTimeout(() => { slow = true; drawStatus(); }, SLOW_MS);
    }
    tellViews(state);
  };

  const halt = () => {
    if (!state.live || state.stopping) return;
    state.stopping = true;
    tell(model, { type: "stop" });
    tellViews(state);
  };

  composer.onsubmit = (event) => {
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
  box.onpaste = (event) => {
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
    if (typing) event.stopPropagation();
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
  box.onkeydown = (event) => {
    event.stopPropagation();
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
    try {
      model.send(content, undefined, [data.slice(at, at + PIECE)]);
    } catch {
      state.files.splice(state.files.indexOf(waiting), 1);
      state.refused = "The kernel has stopped. Run the cells of this notebook again.";
      tellViews(state);
      return;
    }
  }
}

// --- settings ------------------------------------------------------------------------------------

const FIRST = ["temperature", "top_p", "max_tokens", "reasoning.enabled", "reasoning.effort",
  "reasoning.max_tokens", "verbosity"];

/** The drawer: what is asked, and how. @param {Model} model @param {State} state */
function settingsElement(model, state) {
  const unique = Math.random().toString(36).slice(2);
  /** @type {Map<string, any>} */
  const inputs = new Map();
  const ids = make("datalist", { id: `ornb-models-${unique}` });
  const main = make("div", { className: "grid" });
  const more = make("div", { className: "grid" });
  const rest = make("details", { className: "more" }, make("summary", { textContent: "More" }), more);
  const trouble = make("p", { className: "trouble", role: "alert", hidden: true });
  const others = make("p", { className: "others", hidden: true });
  const reset = make("button", { type: "button", className: "plain small",
    textContent: "Reset all", title: "Take away all that is set here, but model and system" });
  reset.onclick = () => tell(model, { type: "reset" });

  /** @param {string} name @param {any} value */
  const set = (name, value) => tell(model, { type: "set", name, value });

  /** @param {string} label @param {string} hint @param {any} input @param {string} name */
  const row = (label, hint, input, name) => {
    const field = `ornb-${unique}-${name.replace(/\W/g, "-")}`;
    input.id = field;
    const off = iconButton("close", `Unset ${label}`, () => {
      set(name, null);
      input.focus();
    }, "off");
    const head = make("span", { className: "head" },
      make("label", { textContent: label, htmlFor: field }),
      make("small", { textContent: hint, id: `${field}-hint` }), off);
    input.setAttribute("aria-describedby", `${field}-hint`);
    inputs.set(name, input);
    return make("div", { className: "field" }, head, input);
  };

  const plain = (/** @type {string} */ tag, /** @type {string} */ name, /** @type {object} */ props) => {
    const input = make(tag, { autocomplete: "off", spellcheck: tag === "textarea", ...props });
    input.onchange = () => set(name, input.value);
    return input;
  };
  const chosen = plain("input", "model", { type: "text" });
  chosen.setAttribute("list", ids.id);
  const system = plain("textarea", "system", { rows: 2,
    placeholder: "A message to the model that goes before all others" });
  const root = make("section", { className: "settings", ariaLabel: "Settings", hidden: true },
    ids,
    make("div", { className: "grid two" },
      row("Model", "of the next answer", chosen, "model"),
      row("Fallback models", "tried in turn, if it fails",
        plain("input", "models", { placeholder: "author/model, author/model" }), "models")),
    row("System", "", system, "system"), main, rest,
    make("div", { className: "row" }, others, reset), trouble);
  more.append(row("Providers", "in the order to be tried",
    plain("input", "provider.order", { placeholder: "any" }), "provider.order"));

  /** @param {any} field */
  const control = (field) => {
    const none = field.default === null ? "default"
      : `default: ${field.kind === "bool" ? (field.default ? "on" : "off") : field.default}`;
    let input;
    if (field.kind === "choice" || field.kind === "bool") {
      const pairs = field.kind === "bool" ? [["true", "on"], ["false", "off"]]
        : field.choices.map((/** @type {string} */ choice) => [choice, choice]);
      input = make("select", {}, make("option", { value: "", textContent: none }),
        ...pairs.map(([value, text]) => make("option", { value, textContent: text })));
      input.onchange = () => set(field.name,
        field.kind === "bool" && input.value ? input.value === "true" : input.value || null);
    } else if (field.kind === "text") {
      input = make("input", { type: "text", placeholder: "none" });
      input.onchange = () => set(field.name, input.value || null);
    } else {
      input = make("input", { type: "number", placeholder: none, step: field.kind === "int" ? 1 : "any" });
      if (field.minimum !== null) input.min = field.minimum;
      if (field.maximum !== null) input.max = field.maximum;
      input.onchange = () => set(field.name, input.value === "" ? null : Number(input.value));
    }
    const hint = field.kind === "float" || field.kind === "int" ? field.takes : "";
    const element = row(field.name, hint, input, field.name);
    element.title = field.meaning;
    return element;
  };

  let drawn = "";
  const draw = () => {
    const told = state.settings;
    if (!told) return;
    const signature = JSON.stringify(told.fields.map(
      (/** @type {any} */ { value, ...field }) => field));
    if (signature !== drawn) {
      drawn = signature;
      const keep = more.lastElementChild;
      const [top, low] = [[], []].map((_, low) => told.fields.filter(
        (/** @type {any} */ { name }) => FIRST.includes(name) === !low).map(control));
      main.replaceChildren(...top);
      more.replaceChildren(...low, keep);
      if (told.ids) {
        ids.replaceChildren(...told.ids.map((/** @type {string} */ id) => make("option", { value: id })));
      }
    }
    chosen.placeholder = model.get("_default_model") || "the service's default";
    const values = { model: model.get("model") ?? "", system: told.system, models: told.models,
      "provider.order": told.providers,
      ...Object.fromEntries(told.fields.map((/** @type {any} */ field) => [field.name, field.value])) };
    for (const [name, value] of Object.entries(values)) {
      const input = inputs.get(name);
      const text = value === null || value === undefined ? "" : String(value);
      const bad = told.problem && told.name === name;
      if (!bad && input.value !== text) input.value = text;
      input.ariaInvalid = String(Boolean(bad));
      input.closest(".field").classList.toggle("set", text !== "");
    }
    trouble.textContent = told.problem;
    trouble.hidden = !told.problem;
    others.textContent = told.others ? `Also sent, from code: ${told.others}` : "";
    others.hidden = !told.others;
  };
  const open = () => {
    tell(model, { type: "settings", models: !state.settings?.ids });
    chosen.focus();
  };
  return { root, draw, open };
}

/** @param {State} state @param {string} [what] */
function tellViews(state, what) {
  for (const view of state.views) view(what);
}

/** @param {{ model: Model }} context */
function initialize({ model }) {
  const state = stateOf(model);
  /** @param {any} message */
  const heard = (message) => {
    const what = take(state, message);
    if (what === "gap") {
      if (performance.now() - state.asked > 500) hello(state, model);
    } else if (what) {
      tellViews(state, what);
    }
  };
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
  model.on("msg:custom", heard);
  model.on("comm_live_update", lost);
  // A second message after the first: from then on the kernel hears a click while a cell runs.
  const timer = setTimeout(() => tell(model, { type: "ping" }), 700);
  return () => {
    clearTimeout(timer);
    model.off("msg:custom", heard);
    model.off("comm_live_update", lost);
    STATES.delete(model.get("_chat_id"));
  };
}

export default { initialize, render };
