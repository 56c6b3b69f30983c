/**
 * What stays of a chat: outputs of the notebook, in which the page puts what the kernel says.
 *
 * @typedef {import("./chat-state.js").State} State
 * @typedef {import("./kernel.js").Model} Model
 *
 * @typedef {[number, string, string, object]} Entry  of a turn: number of the output, HTML, text, JSON
 * @typedef {object} Kept
 * @property {string} row         names the outputs
 * @property {string[]} openings  HTML at the beginning of the first one, and of any other
 * @property {Entry[]} entries
 */

import { PAGE, cellsOf } from "./kernel.js";

const TRANSCRIPT = "application/vnd.ornb.transcript+json";

/** @param {State} state @param {Model} model @param {any} message */
export function keep(state, model, message) {
  if (message.page !== PAGE) return;                // a newer one writes
  if (state.kept?.row !== message.row) state.kept = { row: message.row, openings: [], entries: [] };
  const kept = /** @type {Kept} */ (state.kept);
  const { entries } = kept;
  const changed = new Set(entries.splice(message.count).map((entry) => entry?.[0]));
  if (message.openings) {
    kept.openings = message.openings;
    changed.add(0);
  }
  for (const [place, entry] of Object.entries(message.entries)) {
    entries[Number(place)] = entry;
    changed.add(entry[0]);
  }
  changed.add(entries.at(-1)?.[0] ?? 0);            // the last one says where the reader is
  const { outputs, places } = placesOf(model, kept.row);
  state.lost = !outputs;
  for (const piece of outputs ? [...changed].sort((a, b) => a - b) : []) {
    const output = outputOf(kept, message.about, piece);
    if (!(piece in places)) outputs.add(output);
    else if (differ(output, outputs.get(places[piece]).toJSON())) outputs.set(places[piece], output);
  }
}

/** The outputs of the cell that shows the chat, and where the pieces are among them.
 * @param {Model} model @param {string} row @returns {{ outputs: any, places: Record<number, number> }}
 */
function placesOf(model, row) {
  for (const { outputs } of cellsOf(model) ?? []) {
    /** @type {Record<number, number>} */
    const places = {};
    for (let at = 0; at < (outputs?.length ?? 0); at += 1) {
      const { ornb } = outputs.get(at).metadata ?? {};
      if (ornb?.row === row) places[ornb.piece] = at;
    }
    if (0 in places) return { outputs, places };
  }
  return { outputs: null, places: {} };
}

/** As `ornb.text.rendering.stretch` makes it. @param {Kept} kept @param {object} about @param {number} piece */
function outputOf({ row, openings, entries }, about, piece) {
  const said = entries.filter((entry) => entry?.[0] === piece);
  const nothing = piece ? "" : "No messages yet.";
  const body = said.map(([, html]) => html).join("") || (nothing && `<p>${nothing}</p>`);
  return {
    output_type: "display_data",
    metadata: { ornb: { row, piece } },
    data: {
      "text/html": `${openings[piece ? 1 : 0]}${body}</div>`,
      "text/plain": said.map(([, , text]) => text).filter(Boolean).join("\n\n") || nothing,
      [TRANSCRIPT]: { ...about, piece, turns: said.map((entry) => entry[3]) },
    },
  };
}

/** Whether two outputs say anything else: one that is written again counts as a change to save.
 * @param {{ data: Record<string, any> }} one @param {{ data: Record<string, any> }} other
 */
const differ = ({ data: one }, { data: other }) => one["text/html"] !== other["text/html"]
  || JSON.stringify(one[TRANSCRIPT].turns) !== JSON.stringify(other[TRANSCRIPT]?.turns)
  || one[TRANSCRIPT].head !== other[TRANSCRIPT]?.head;
