/**
 * A conversation as a file: the kernel writes it, the page that asked for it has it saved.
 *
 * @typedef {import("./chat-view.js").View} View
 */

import { iconButton } from "./chat-buttons.js";
import { NO_KERNEL } from "./chat-view.js";
import { make } from "./elements.js";
import { PAGE, tell, tellViews } from "./kernel.js";

/** @type {[string, string, string][]} */
const FORMS = [
  ["md", "Markdown", "To read, or to put elsewhere"],
  ["json", "JSON", "All of it, with all branches; ornb.Chat.reopen goes on with it"],
  ["ipynb", "Notebook", "A fresh notebook that goes on with it"],
];

/** The button, and the forms that it offers. @param {View} view */
export function exportPart(view) {
  const { model, state } = view;
  /** @param {string} form */
  const ask = (form) => {
    show(false);
    opener.focus();
    if (!tell(model, { type: "export", form, page: PAGE })) {
      view.refuse(NO_KERNEL);
      return;
    }
    state.exporting = form;
    view.expectSoon();
    tellViews(state);
  };
  const forms = FORMS.map(([form, label, title]) => make("button", { type: "button",
    className: "plain small", title, textContent: label, onclick: () => ask(form) }));
  const element = make("div", { className: "row export", role: "group", ariaLabel: "Save a copy",
    hidden: true }, make("span", { textContent: "Save a copy as" }), ...forms);
  /** @param {boolean} open */
  const show = (open) => {
    element.hidden = !open;
    opener.ariaExpanded = String(open);
    if (open) forms[0].focus();
  };
  const opener = iconButton("export", "Save a copy", () => show(element.hidden), "exporter");
  opener.ariaExpanded = "false";
  element.onkeydown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    show(false);
    opener.focus();
  };
  const draw = () => { opener.disabled = state.turns.length === 0; };
  return { element, opener, draw };
}

/** Have the browser save what the kernel wrote, if it could and this page asked for it. @param {any} message */
export function saveFile({ page, name, text }) {
  if (page !== PAGE || text === null) return;
  const href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}
