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
 * @property {(content: object) => void} send
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
 *
 * @typedef {{ key: string, role: string, text: string }} Question
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
 * @property {Set<(what?: string) => void>} views
 */

/** Names this load of the page: an output shown by an earlier load can't be updated any more. */
const PAGE = (globalThis.ornbPage ??= Math.random().toString(36).slice(2));
const SLOW_MS = 1500;

/** anywidget hands `initialize` and `render` different models over one state. @type {Map<string, State>} */
const STATES = new Map();

/** @param {Model} model @returns {State} */
function stateOf(model) {
  const id = model.get("_chat_id");
  let state = STATES.get(id);
  if (!state) {
    state = {
      seq: -1, epoch: 0, turns: [], live: null, page: null, sending: "", refused: "",
      stopping: false, asked: 0, views: new Set(),
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
  if (message.type === "asked") {
    state.turns.push(keyed(state, message.turn));
    state.live = { ...emptyAnswer(state), ...message.live };
    state.sending = state.refused = "";
    state.stopping = false;
  } else if (message.type === "delta" && state.live) {
    grow(state.live, message);
  } else if (message.type === "done" && state.live) {
    grow(state.live, message.change);
    state.turns.push({ ...state.live, ...message.turn, key: state.live.key, tail: "" });
    state.live = null;
    state.stopping = false;
  } else if (message.type === "refused") {
    state.refused = message.text;
    state.sending = "";
  } else {
    return "";
  }
  return message.type;
}

/** @param {State} state @returns {Answer} */
const emptyAnswer = (state) => ({
  key: `${state.epoch}.live${state.turns.length}`, role: "assistant", html: "", tail: "", think: "",
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

/** @param {Question} turn */
const questionElement = (turn) => make("article", { className: "turn asked", ariaLabel: "You" },
  make("div", { className: "bubble", textContent: turn.text }));

/** An answer's element, and how to bring it up to date. @param {Answer} first */
function answerElement(first) {
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
  const root = make("article", { className: "turn answer", ariaLabel: "Answer" },
    make("header", {}, who), reasoning, make("div", { className: "ornb-text" }, done, tail, wait),
    error, foot);
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
    summary.textContent = thinks ? "Thinking …" : "Reasoning";
    wait.hidden = !live || speaks || Boolean(answer.think);
    who.textContent = answer.who || "Model";
    root.classList.toggle("live", live);
    root.ariaBusy = String(live);
    if (!live) {
      over = true;
      finish(answer);
    }
  };

  /** @param {Answer} answer */
  const finish = (answer) => {
    if (answer.pictures) done.append(safe(answer.pictures));
    error.textContent = answer.error ?? "";
    error.hidden = !answer.error;
    // Offline the badge says who answered, and the note says it again.
    const provider = ["live", "recorded"].includes(answer.source ?? "") ? answer.provider : "";
    const pieces = [provider, ...(answer.facts ?? [])].filter(Boolean);
    foot.replaceChildren(
      make("span", { className: `badge ${answer.source === "live" ? "live" : "other"}`,
        textContent: answer.source_label ?? "" }),
      ...pieces.map((piece) => make("span", { textContent: piece })),
    );
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
  const composer = make("form", { className: "composer" }, box, send, stop);
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
  const frame = make("section", { className: "frame", ariaLabel: "Chat" },
    make("header", { className: "top" }, name, service, status), composer, banner, stale, log);
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
        element = turn.role === "user" ? { root: questionElement(turn) } : answerElement(turn);
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
    const news = state.sending && slow
      ? "The kernel is busy or has stopped; your message is kept"
      : state.stopping ? "Stopping …"
        : state.live?.blocking ? "Answering in a cell; interrupting the kernel stops it at once"
          : running ? "Answering …" : "";
    if (status.textContent !== news) status.textContent = news;
  };

  const draw = () => {
    frameRequest = 0;
    drawLog();
    drawStatus();
  };

  /** @param {string} [what] */
  const changed = (what) => {
    if (what === "state") reveal ??= hideStatic(model.get("_chat_id"));
    if (what === "asked") {
      if (state.turns.at(-1)?.text.trim() === box.value.trim()) box.value = "";
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
    if (!box.value.trim()) {
      state.refused = "The prompt is empty, so nothing was sent. Write a prompt first.";
    } else {
      if (tell(model, { type: "ask", text: box.value })) state.sending = box.value;
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
  model.on("msg:custom", heard);
  // A second message after the first: from then on the kernel hears a click while a cell runs.
  const timer = setTimeout(() => tell(model, { type: "ping" }), 700);
  return () => {
    clearTimeout(timer);
    model.off("msg:custom", heard);
    STATES.delete(model.get("_chat_id"));
  };
}

export default { initialize, render };
