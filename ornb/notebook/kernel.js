/**
 * Talk with the kernel that survives a lost message: all of the kernel's are numbered, and a page
 * that misses one asks for everything.
 *
 * @typedef {object} Model  anywidget's model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, callback: (content?: any) => void) => void} on
 * @property {(event: string, callback: (content?: any) => void) => void} off
 * @property {(content: object, callbacks?: any, buffers?: ArrayBuffer[]) => void} send
 * @property {any} [widget_manager]  in JupyterLab and Notebook it knows the notebook
 *
 * @typedef {object} Heard  what a widget knows in this page, shared by its views
 * @property {number} seq    of the newest message; -1 before the first
 * @property {number} asked  when everything was asked for last, in ms
 * @property {Set<(what?: string) => void>} views
 */

/** Names this load of the page: an output shown by an earlier load can't be updated any more. */
export const PAGE = (/** @type {any} */ (globalThis).ornbPage ??= Math.random().toString(36).slice(2));

/** After so long without an effect, a button says what holds it up. */
export const SLOW_MS = 1500;

/**
 * Say something to the kernel; false when there is none any more, and what is shown stays.
 * @param {Model} model @param {object} content @param {ArrayBuffer[]} [buffers]
 */
export function tell(model, content, buffers) {
  try {
    model.send(content, undefined, buffers);
    return true;
  } catch {
    return false;
  }
}

/** anywidget hands `initialize` and `render` different models over one state. @type {Map<string, any>} */
const STATES = new Map();

/**
 * What a widget knows in this page.
 * @template State
 * @param {string} id @param {() => State} first  makes it, the first time
 * @returns {State}
 */
export function sharedState(id, first) {
  if (!STATES.has(id)) STATES.set(id, first());
  return STATES.get(id);
}

/** @param {string} id */
export const forgetState = (id) => STATES.delete(id);

/** The cells of the notebook that shows a widget, where the page has them. @param {Model} model */
export const cellsOf = (model) => model.widget_manager?.context?.model?.cells ?? null;

/** Ask for everything. @param {Heard} state @param {Model} model */
export function hello(state, model) {
  state.asked = performance.now();
  // What a page writes where a server keeps the outputs is in no file.
  const setup = document.getElementById("jupyter-config-data")?.textContent ?? "";
  const served = setup.includes("@jupyter-ai-contrib/server-documents");
  tell(model, { type: "hello", page: PAGE, writes: !served && cellsOf(model) !== null, served });
}

/** @param {Heard} state @param {string} [what] */
export function tellViews(state, what) {
  for (const view of state.views) view(what);
}

/**
 * Take the kernel's messages as they come.
 * @param {Heard} state @param {Model} model
 * @param {(message: any) => string} take  says what changed: "" for nothing, "gap" for one missed
 * @returns {() => void} ends it
 */
export function listen(state, model, take) {
  /** @param {any} message */
  const heard = (message) => {
    const what = take(message);
    if (what === "gap") {
      if (performance.now() - state.asked > 500) hello(state, model);
    } else if (what) {
      tellViews(state, what);
    }
  };
  model.on("msg:custom", heard);
  return () => model.off("msg:custom", heard);
}

/**
 * Apply one change to an answer that is being written.
 * @param {{ html: string, tail: string, think: string }} answer @param {any} change
 */
export function grow(answer, change) {
  answer.think += change.think ?? "";
  if (change.replace !== undefined) {
    answer.html = change.replace;
    answer.tail = "";
    return;
  }
  const { tail } = answer;
  const next = tail.slice(0, change.keep) + change.add + tail.slice(tail.length - change.end);
  answer.html += next.slice(0, change.done);
  answer.tail = next.slice(change.done);
}
