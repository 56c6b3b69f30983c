/** Text of a model in the page. */

import { copied, make } from "./elements.js";

/**
 * Safe HTML from the kernel's sanitiser, with a Copy button on its code, and one on each remote
 * picture that fetches it.
 * @param {string} html
 */
export function safe(html) {
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
    const load = make("button", { type: "button", className: "load",
      textContent: "Load image", title: `Fetch it from ${link.host}, which will know of it` });
    load.onclick = () => image.replaceWith(make("img", { src: link.href, alt: "Image from "
      + link.host, referrerPolicy: "no-referrer" }));
    image.append(" ", load);
  }
  return template.content;
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
