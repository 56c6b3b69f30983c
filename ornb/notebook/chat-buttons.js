/** Buttons of the chat that have a picture on them. */

import { copied, icon, make } from "./elements.js";

const ICONS = {
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  again: "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3",
  edit: "M3 13l.6-2.8 7.2-7.2 2.2 2.2-7.2 7.2z",
  attach: "M12.5 7.5 8 12a2.8 2.8 0 0 1-4-4l5-5a1.9 1.9 0 0 1 2.7 2.7L7 10.4a.9.9 0 0 1-1.3-1.3L9.8 5",
  settings: "M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6M10 2.7v3.6M6 9.7v3.6",
  back: "M10 3.5 5.5 8l4.5 4.5",
  on: "M6 3.5 10.5 8 6 12.5",
  export: "M8 2.5v7.5M5 7.2l3 3 3-3M3 13.2h10",
  close: "M4 4l8 8M12 4l-8 8",
};

/**
 * A small button with a picture on it.
 * @param {keyof typeof ICONS} name @param {string} label @param {() => void} act
 * @param {string} [kind]
 */
export function iconButton(name, label, act, kind = "") {
  const button = make("button", { type: "button", className: `icon ${kind}`, ariaLabel: label,
    title: label }, icon(ICONS[name]));
  button.onclick = act;
  return button;
}

/** @param {() => string} text @param {string} label */
export function copyButton(text, label) {
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
