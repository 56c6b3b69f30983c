/** Calls what the widgets' scripts export: one request a line, as JSON, and one answer each. */

import { stateOf, take } from "../ornb/notebook/chat-state.js";
import { grow } from "../ornb/notebook/kernel.js";
import { Catalogue } from "../ornb/notebook/picker-table.js";

/** @type {Catalogue} */
let catalogue;

/** @type {Record<string, (...given: any[]) => any>} */
const can = {
  /** The ids that meet filters, in their order; of a new table, if one is given. */
  matches(filters, sort, table) {
    if (table) catalogue = new Catalogue(table);
    return catalogue.matches(filters, sort).map((i) => catalogue.table.id[i]);
  },
  /** What a search of the last table that finds nothing probably meant. */
  meant: (search) => catalogue.meant(search),
  /** An answer after changes. */
  grow(answer, ...changes) {
    for (const change of changes) grow(answer, change);
    return answer;
  },
  /** What each message was taken for, and what a chat's page then knows. */
  take(...messages) {
    const id = crypto.randomUUID();
    const state = stateOf(/** @type {any} */ ({ get: () => id }));
    const taken = messages.map((message) => take(state, message));
    return { taken, state };
  },
};

let rest = "";
for await (const piece of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + piece).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    const [name, ...given] = JSON.parse(line);
    console.log(JSON.stringify(can[name](...given)));
  }
}
