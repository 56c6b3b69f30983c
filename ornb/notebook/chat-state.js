/**
 * What the page knows of a chat, and what the kernel's messages make of it.
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
 * @property {string} exporting what was asked for as a file and is not there yet
 * @property {string[]} sent    ids of those that go with the question under way
 * @property {any} settings     what the drawer shows
 * @property {import("./chat-kept.js").Kept | null} kept  what is in the notebook's outputs
 * @property {boolean} lost     whether those outputs are not there any more
 * @property {string | null} [moved]  id of the first turn of the branch that was gone to
 * @property {Set<(what?: string) => void>} views
 *
 * @typedef {import("./kernel.js").Model} Model
 */

import { grow, sharedState } from "./kernel.js";

/** @param {Model} model @returns {State} */
export const stateOf = (model) => sharedState(model.get("_lasting_id"), () => ({
  seq: -1, epoch: 0, turns: [], live: null, page: null, sending: "", refused: "", stopping: false,
  asked: 0, lives: 0, files: [], sent: [], exporting: "", settings: null, kept: null, lost: false, views: new Set(),
}));

/** @param {State} state @param {any} message @returns {string} what changed, "" for nothing, "gap" */
export function take(state, message) {
  if (message.type === "state") {
    state.epoch += 1;
    state.seq = message.seq;
    state.page = message.page;
    state.turns = keyed(state, message.turns);
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
    state.turns.push(...keyed(state, message.turns));
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
    write(state.live, message);
  } else if (message.type === "done" && state.live) {
    write(state.live, message.change);
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
    state.settings = { table: state.settings?.table, ...message };
  } else if (message.type === "exported") {
    state.exporting = "";
  } else if (message.type !== "kept") {
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

/** @param {State} state @param {any[]} turns */
const keyed = (state, turns) => turns.map((turn) => ({
  ...(turn.role === "assistant" ? { tail: "", version: 0 } : {}), ...turn,
  key: `${state.epoch}.${turn.id}`,
}));

/** Apply one change, and note when thinking and speaking began. @param {Answer} answer @param {any} change */
function write(answer, change) {
  grow(answer, change);
  if (answer.think) answer.began ??= performance.now();
  if (change.add || change.replace) answer.spoke ??= performance.now();
  if (change.replace !== undefined) answer.version += 1;
}
