/**
 * The sign-in form in the page: takes a key or a code, hands it over, forgets it.
 *
 * What is typed leaves in a custom message, and its box is replaced in the same handler: no trait,
 * no variable that outlives the handler, nothing for an undo to bring back. All text of the kernel
 * goes in through textContent.
 *
 * @typedef {object} Model  anywidget's model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, callback: () => void) => void} on
 * @property {(content: object) => void} send
 */

import { icon, make } from "./elements.js";
import { SLOW_MS } from "./kernel.js";

const ICONS = {
  key: "M10.3 2.5a3.2 3.2 0 1 1-2.2 5.5L6.6 9.5v1.6H5v1.6H2.6v-2.4L7.4 5.6a3.2 3.2 0 0 1 2.9-3.1ZM11.2 4.9h.01",
  tick: "M3.5 8.5 6.5 11.5 12.5 5",
  out: "M6.5 3.5h-3v9h9v-3M9 3h4v4M13 3 7.5 8.5",
  mind: "M8 2.2 14.3 13.3H1.7ZM8 6.6v3M8 11.4v.01",
};

/** A link to another site; it is told neither who sends it nor given a way back. */
const link = (/** @type {string} */ what, /** @type {string} */ href, /** @type {string} */ text) =>
  make(what, { href, target: "_blank", rel: "noopener noreferrer" }, text, icon(ICONS.out));

/** A box for a secret; password managers are asked not to offer to keep it. @param {string} id */
const secretBox = (id) => {
  const box = make("input.box", { id, type: "password", autocomplete: "off" });
  const wishes = { autocapitalize: "off", autocorrect: "off", spellcheck: "false",
    "aria-describedby": `${id}-hint`, "data-1p-ignore": "", "data-lpignore": "true",
    "data-bwignore": "", "data-form-type": "other" };
  for (const [name, value] of Object.entries(wishes)) box.setAttribute(name, value);
  return box;
};

/**
 * Draw one view.
 * @param {{ model: Model, el: HTMLElement }} context
 * @returns {() => void}
 */
function render({ model, el }) {
  // Random, since every widget loads this module anew: a counter would start at 1 in each.
  const prefix = `ornb-key-${Math.random().toString(36).slice(2)}`;
  let waiting = "";                                   // what was sent and is not taken up yet
  let slow = false;
  let slowTimer = 0;
  let asked = "";                                     // what the kernel is at for this view
  let hadFocus = false;                               // whether the keyboard was here when it was sent
  let complaint = "";                                 // what is wrong before anything is sent

  const focused = () => /** @type {Document} */ (el.getRootNode()).activeElement;

  /** @param {"key" | "code" | "sign_out"} kind @param {object} content */
  const tell = (kind, content) => {
    waiting = kind;
    hadFocus = el.contains(focused());
    model.send({ type: kind, ...content });
    slow = false;
    clearTimeout(slowTimer);
    slowTimer = setTimeout(() => { slow = true; draw(); }, SLOW_MS);
  };

  // --- the two ways in
  /**
   * A labelled box with its button.
   * @param {"key" | "code"} kind @param {string} label @param {string} action
   */
  const field = (kind, label, action) => {
    const id = `${prefix}-${kind}`;
    const row = make("div.row");
    const button = make(kind === "key" ? "button.primary" : "button.quiet", { type: "button" }, action);
    const hint = make("p.hint", { id: `${id}-hint` });
    /** @type {HTMLInputElement} */
    let box;

    const send = () => {
      if (waiting || model.get("busy")) return;
      const given = box.value;
      const had = focused() === box;
      renew();                                        // forgets, before anything else can happen
      if (had) box.focus({ preventScroll: true });
      complaint = given.trim() ? "" : `Paste the ${kind} first.`;
      if (!complaint) tell(kind, { [kind]: given });
      draw();
    };
    const renew = () => {
      const fresh = secretBox(id);
      fresh.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" || event.isComposing) return;
        event.preventDefault();
        send();
      });
      fresh.addEventListener("input", () => {
        complaint = "";
        if (model.get("error")) {
          model.set("error", "");
          model.save_changes();
        }
        draw();
      });
      if (box) {
        box.value = "";
        box.replaceWith(fresh);
      } else row.append(fresh, button);
      box = fresh;
    };
    renew();
    button.addEventListener("click", send);
    const element = make("div.field", {}, make("label", { for: id }, label), row, hint);
    return {
      element, hint, button,
      focus: () => box.focus({ preventScroll: true }),
      forget: () => { box.value = ""; },
      lock: (/** @type {boolean} */ on) => { box.readOnly = on; button.disabled = on; },
    };
  };

  const key = field("key", "API key", "Sign in");
  const code = field("code", "Code it shows", "Use code");
  const fields = { key, code };

  const opener = make("div.opener");
  const byKey = make("div.way", {}, make("p.lead", {}, "With a key"), key.element);
  const byCode = make("div.way", {}, make("p.lead", {}, "Without one"), opener, code.element);
  const or = make("div.or", { "aria-hidden": "true" }, "or");
  const ways = make("div.ways", {}, byKey, or, byCode);
  code.hint.textContent = "A code works once, within 10 minutes.";

  // --- signed in
  const list = make("dl");
  const left = make("span.meter", { role: "img" }, make("span"));
  const off = make("button.quiet", { type: "button" }, "Sign out");
  const manage = make("span.manage");
  const account = make("div.account", { tabindex: "-1", role: "group", "aria-label": "The key in use" },
    list, make("div.actions", {}, off, manage));
  off.addEventListener("click", () => {
    if (waiting || model.get("busy")) return;
    tell("sign_out", {});
    draw();
  });

  // --- around them
  const title = make("strong.title");
  const state = make("span.state", { role: "status" });
  const emblem = make("span.emblem", { "aria-hidden": "true" }, icon(ICONS.key));
  const mind = make("p.mind");
  const trouble = make("p.trouble", { role: "alert" });
  const foot = make("p.foot");
  const frame = make("section.frame", {},
    make("header", {}, emblem, make("span.heading", {}, title, state)),
    mind, trouble, ways, account, foot);

  /** @param {HTMLElement} element @param {string | null} text */
  const say = (element, text) => {
    if (element.textContent !== text) element.textContent = text;   // a live region speaks once
    element.hidden = !text;
  };

  const drawLinks = () => {
    const keysUrl = model.get("_keys_url");
    const authUrl = model.get("_auth_url");
    key.hint.replaceChildren(...(keysUrl
      ? ["Make one at ", link("a", keysUrl, "openrouter.ai/settings/keys"),
        ". Give it a limit of a few dollars and an expiry date."]
      : ["As the service gave it to you."]));
    manage.replaceChildren(...(keysUrl ? [link("a", keysUrl, "Limits and keys")] : []));
    byCode.hidden = or.hidden = !authUrl;
    ways.classList.toggle("single", !authUrl);
    opener.replaceChildren(...(authUrl
      ? [link("a.button", authUrl, "Open OpenRouter"),
        make("span", {}, "Allow ornb there, with a limit, and copy the code.")]
      : []));
  };

  const drawAccount = () => {
    /** @type {Record<string, string>} */
    const facts = model.get("facts");
    list.replaceChildren(...Object.entries(facts).map(([name, text]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, text, name === "Left" ? left : null))));
    const share = model.get("_left");
    left.hidden = share === null;
    left.setAttribute("aria-label", `${Math.round((share ?? 0) * 100)} % of the limit is left`);
    left.firstElementChild.style.setProperty("inline-size", `${(share ?? 0) * 100}%`);
    left.classList.toggle("low", share !== null && share < 0.15);
  };

  const draw = () => {
    const inUse = model.get("signed_in");
    const busy = model.get("busy") || Boolean(waiting);
    const service = model.get("_keys_url") ? "OpenRouter" : model.get("service");
    frame.setAttribute("aria-label", `Sign in to ${service}`);
    frame.setAttribute("aria-busy", String(busy));
    title.textContent = inUse ? service : `Sign in to ${service}`;
    frame.classList.toggle("in", inUse);
    emblem.replaceChildren(icon(inUse ? ICONS.tick : ICONS.key));
    say(state, waiting && !model.get("busy")
      ? (slow ? "The kernel is busy; it comes to this when it is free" : "Asking …")
      : model.get("status"));
    const plain = globalThis.isSecureContext === false
      ? "This page came over plain http: others on the way could read a key." : "";
    const advice = [inUse ? "" : plain, model.get("advice")].filter(Boolean).join(" ");
    mind.hidden = !advice;
    mind.replaceChildren(icon(ICONS.mind), make("span", {}, advice));
    say(trouble, complaint || model.get("error"));
    ways.hidden = inUse;
    account.hidden = !inUse;
    key.lock(busy);
    code.lock(busy);
    off.disabled = busy;
    foot.textContent = model.get("_kept")
      ? "The key is kept in this computer's keyring and in the kernel's memory, not in the notebook."
      : "The key stays in the kernel's memory: not in the notebook, its outputs or a log.";
  };

  /** The kernel has taken up what was sent. */
  const takenUp = () => {
    if (waiting) asked = waiting;
    waiting = "";
    clearTimeout(slowTimer);
  };

  /** The kernel is done: the keyboard goes on where the work does, if it was in the form. */
  const done = () => {
    const here = el.contains(focused()) || (hadFocus && focused() === document.body);
    draw();
    if (asked && here) {
      if (model.get("signed_in")) account.focus({ preventScroll: true });
      else fields[asked === "code" ? "code" : "key"].focus();
    }
    asked = "";
  };

  model.on("change:busy", () => {
    takenUp();
    if (model.get("busy")) draw();
    else queueMicrotask(done);                        // what else is in the message comes first
  });
  model.on("change:error", () => {
    if (model.get("error")) takenUp();                // refused before it was even begun
    draw();
  });
  for (const name of ["status", "advice", "service", "signed_in", "_kept"]) model.on(`change:${name}`, draw);
  for (const name of ["facts", "_left"]) model.on(`change:${name}`, drawAccount);
  for (const name of ["_auth_url", "_keys_url"]) model.on(`change:${name}`, drawLinks);

  // JupyterLab's shortcuts: a key pasted in command mode must not delete a cell.
  frame.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const save = (event.ctrlKey || event.metaKey) && event.key === "s";
    if (!save) event.stopPropagation();
  });
  el.classList.add("ornb-key");
  el.dataset.lmSuppressShortcuts = "true";
  el.append(frame);
  drawLinks();
  drawAccount();
  draw();
  return () => {
    clearTimeout(slowTimer);
    key.forget();
    code.forget();
    el.replaceChildren();
  };
}

export default { render };
