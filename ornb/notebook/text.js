/** Text of a model in the page. */

import { copied, make } from "./elements.js";

/** What is wider than its place is a stop on the keyboard's way, to be scrolled; else it is none. */
const wide = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
    else if (!target.matches(":focus")) target.removeAttribute("tabindex");
  }
});

/** @param {Element} box @param {string} label */
function scrolls(box, label) {
  box.role = "group";
  box.ariaLabel = label;
  wide.observe(box);
}

/**
 * Safe HTML from the kernel's sanitiser, with a Copy button on its code, and one on each remote
 * picture that fetches it. What may be too wide can be scrolled with the keyboard.
 * @param {string} html
 */
export function safe(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const table of template.content.querySelectorAll("table")) {
    const box = make("div", { className: "tablebox" });
    table.replaceWith(box);
    box.append(table);
    scrolls(box, "Table");
  }
  for (const math of template.content.querySelectorAll(".ornb-math")) scrolls(math, "Formula");
  for (const code of template.content.querySelectorAll("pre.ornb-code")) {
    const language = /language-(\S+)/.exec(code.firstElementChild?.className ?? "")?.[1] ?? "";
    const copy = make("button", { type: "button", className: "copy", textContent: "Copy" });
    const box = make("div", { className: "codebox" }, make("div", { className: "codebar" },
      make("span", { textContent: language }), copy));
    code.replaceWith(box);
    box.append(code);
    scrolls(code, language ? `Code, ${language}` : "Code");
    copy.onclick = async () => {
      const done = await copied(code.textContent ?? "");
      copy.textContent = done ? "Copied" : "Press Ctrl+C";
      if (!done) getSelection()?.selectAllChildren(code);
      setTimeout(() => { copy.textContent = "Copy"; }, 1600);
    };
  }
  for (const image of template.content.querySelectorAll(".ornb-image:has(a[href^=http])")) {
    const link = /** @type {HTMLAnchorElement} */ (image.querySelector("a"));
    const load = make("button", { type: "button", className: "load",
      textContent: "Load image", title: `Fetch it from ${link.host}, which will know of it` });
    load.onclick = () => {
      const loaded = make("img", { src: link.href, alt: `Image from ${link.host}`, tabIndex: -1,
        referrerPolicy: "no-referrer" });
      image.replaceWith(loaded);
      loaded.focus({ preventScroll: true });   // the button that had it is gone
    };
    image.append(" ", load);
  }
  return template.content;
}

/**
 * A finished block as it is said aloud: its first words; of what is not read word by word, how much
 * there is.
 * @param {Element} block  a child of what `safe` gave @param {number} most  words
 */
export function inWords(block, most) {
  const lines = (block.querySelector("pre")?.textContent ?? "").trimEnd().split("\n").length;
  const rows = block.querySelectorAll("tbody tr").length;
  if (block.matches(".codebox")) return `Code, ${lines} line${lines === 1 ? "" : "s"}.`;
  if (block.matches(".tablebox")) return `Table, ${rows} row${rows === 1 ? "" : "s"}.`;
  if (block.matches(".ornb-math")) return "Formula.";
  const copy = /** @type {Element} */ (block.cloneNode(true));
  for (const silent of copy.querySelectorAll("[hidden], button, .ornb-host")) silent.remove();
  const words = (copy.textContent ?? "").split(/\s+/).filter(Boolean);
  return words.length > most ? `${words.slice(0, most).join(" ")} …` : words.join(" ");
}

/** Where an answer grows: its reasoning to be opened, what is finished, what is open, the wait for either. */
export function growingElements() {
  const thought = make("div", { className: "thought", tabIndex: 0, role: "group",
    ariaLabel: "Reasoning" });
  const summary = make("summary");
  const reasoning = make("details", { className: "reasoning", hidden: true }, summary, thought);
  const done = make("div", { className: "done" });
  const tail = make("div", { className: "tail" });
  const wait = make("div", { className: "wait", role: "img", ariaLabel: "Waiting for the first word" },
    make("i"), make("i"), make("i"));
  return { thought, summary, reasoning, done, tail, wait };
}
