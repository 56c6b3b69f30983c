/**
 * Elements and small services of the page that every widget needs. Text goes in as text, never as
 * HTML.
 */

/**
 * Make an element: `make("b.total", { title: "..." }, "text", child)`.
 * @param {string} what  tag and classes
 * @param {Record<string, any>} [props]  properties where the element has them, else attributes
 * @param {...(string | Node | null)} children
 * @returns {any}
 */
export function make(what, props = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  /** @type {any} */
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (name in element) element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

/** Change a text only if it is another: a live region speaks once. @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {string} paths  the d of an icon on a 16 by 16 grid */
export function icon(paths) {
  const [svg, path] = ["svg", "path"].map(
    (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", paths);
  svg.append(path);
  return svg;
}

/**
 * Copy text, also where the page is no secure context.
 * @param {string} text @returns {Promise<boolean>} whether that worked
 */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { /* not allowed or not there: the old way works from a click */ }
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const area = make("textarea", { value: text, readOnly: true, style: "position:fixed;opacity:0" });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus({ preventScroll: true });
  return done;
}

/**
 * Hide an ordinary output for as long as the live one is shown.
 * @param {string} id  as in its class `ornb-static-<id>`
 * @returns {() => void} shows it again
 */
export function hideStatic(id) {
  const style = make("style", { textContent:
    `.jp-OutputArea-child:has(.ornb-static-${id}), .ornb-static-${id} { display: none }` });
  document.head.append(style);
  return () => style.remove();
}
