/**
 * The sign-in form in the page: takes a key or a code, hands it over, forgets it.
 *
 * What is typed leaves in a custom message, and its box is replaced in the same handler: no trait,
 * no variable that outlives the handler, nothing for an undo to bring back. All text of the kernel
 * goes in through textContent.
 *
 * @typedef {import("./kernel.js").Model} Model
 */

import { icon, make, setText } from "./elements.js";
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

// --- one view ------------------------------------------------------------------------------------

/** @typedef {"key" | "code" | "sign_out"} Kind  of what is sent */

/** What the parts of one view share: what was sent, and what became of it. */
class View {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.el = el;
    /** @type {Kind | ""}  what was sent and is not taken up yet */
    this.waiting = "";
    this.slow = false;
    this.timer = 0;
    /** @type {Kind | ""}  what the kernel is at for this view */
    this.asked = "";
    this.hadFocus = false;                            // whether the keyboard was here when it was sent
    this.complaint = "";                              // what is wrong before anything is sent
    this.draw = () => {};
  }

  focused() { return /** @type {Document} */ (this.el.getRootNode()).activeElement; }

  isBusy() { return this.model.get("busy") || Boolean(this.waiting); }

  /** @param {Kind} kind @param {object} content */
  send(kind, content) {
    this.waiting = kind;
    this.hadFocus = this.el.contains(this.focused());
    this.model.send({ type: kind, ...content });
    this.slow = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { this.slow = true; this.draw(); }, SLOW_MS);
  }

  /** The kernel has taken up what was sent. */
  takenUp() {
    if (this.waiting) this.asked = this.waiting;
    this.waiting = "";
    clearTimeout(this.timer);
  }

  /** Whether the keyboard was in the form when what is done now was sent, and left it for nothing else. */
  isHere() {
    return this.el.contains(this.focused()) || (this.hadFocus && this.focused() === document.body);
  }
}

/** A box for one secret: replaced, and so forgotten, as soon as what is in it has been handed over. */
class Field {
  /** @param {View} view @param {"key" | "code"} kind @param {string} label @param {string} action */
  constructor(view, kind, label, action) {
    this.view = view;
    this.kind = kind;
    // Random, since every widget loads this module anew: a counter would start at 1 in each.
    this.id = `ornb-key-${Math.random().toString(36).slice(2)}-${kind}`;
    this.button = make(kind === "key" ? "button.primary" : "button.quiet", { type: "button" }, action);
    this.button.addEventListener("click", () => this.send());
    this.hint = make("p.hint", { id: `${this.id}-hint` });
    this.box = this.fresh();
    this.element = make("div.field", {}, make("label", { for: this.id }, label),
      make("div.row", {}, this.box, this.button), this.hint);
  }

  /** @returns {HTMLInputElement} */
  fresh() {
    const box = secretBox(this.id);
    box.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    box.addEventListener("input", () => this.typed());
    return box;
  }

  typed() {
    const { model } = this.view;
    this.view.complaint = "";
    if (model.get("error")) {
      model.set("error", "");
      model.save_changes();
    }
    this.view.draw();
  }

  send() {
    const { view, kind } = this;
    if (view.isBusy()) return;
    const given = this.box.value;
    const had = view.focused() === this.box;
    this.renew();                                     // forgets, before anything else can happen
    if (had) this.focus();
    view.complaint = given.trim() ? "" : `Paste the ${kind} first.`;
    if (!view.complaint) view.send(kind, { [kind]: given });
    view.draw();
  }

  renew() {
    const fresh = this.fresh();
    this.forget();
    this.box.replaceWith(fresh);
    this.box = fresh;
  }

  focus() { this.box.focus({ preventScroll: true }); }

  forget() { this.box.value = ""; }

  /** @param {boolean} on */
  lock(on) { this.box.readOnly = this.button.disabled = on; }
}

/** The two ways in. @param {View} view */
function waysPart(view) {
  const key = new Field(view, "key", "API key", "Sign in");
  const code = new Field(view, "code", "Code it shows", "Use code");
  code.hint.textContent = "A code works once, within 10 minutes.";
  const opener = make("div.opener");
  const byKey = make("div.way", {}, make("p.lead", {}, "With a key"), key.element);
  const byCode = make("div.way", {}, make("p.lead", {}, "Without one"), opener, code.element);
  const or = make("div.or", { "aria-hidden": "true" }, "or");
  const element = make("div.ways", {}, byKey, or, byCode);
  const drawLinks = () => {
    const keysUrl = view.model.get("_keys_url");
    const authUrl = view.model.get("_auth_url");
    key.hint.replaceChildren(...(keysUrl
      ? ["Make one at ", link("a", keysUrl, "openrouter.ai/settings/keys"),
        ". Give it a limit of a few dollars and an expiry date."]
      : ["As the service gave it to you."]));
    byCode.hidden = or.hidden = !authUrl;
    element.classList.toggle("single", !authUrl);
    opener.replaceChildren(...(authUrl
      ? [link("a.button", authUrl, "Open OpenRouter"),
        make("span", {}, "Allow ornb there, with a limit, and copy the code.")]
      : []));
  };
  const draw = () => {
    element.hidden = view.model.get("signed_in");
    for (const field of [key, code]) field.lock(view.isBusy());
  };
  return { element, key, code, draw, drawLinks };
}

/** The key in use. @param {View} view */
function accountPart(view) {
  const { model } = view;
  const list = make("dl");
  const left = make("span.meter", { role: "img" }, make("span"));
  const off = make("button.quiet", { type: "button" }, "Sign out");
  const manage = make("span.manage");
  const element = make("div.account", { tabindex: "-1", role: "group", "aria-label": "The key in use" },
    list, make("div.actions", {}, off, manage));
  off.addEventListener("click", () => {
    if (view.isBusy()) return;
    view.send("sign_out", {});
    view.draw();
  });
  const drawLinks = () => {
    const keysUrl = model.get("_keys_url");
    manage.replaceChildren(...(keysUrl ? [link("a", keysUrl, "Limits and keys")] : []));
  };
  const drawFacts = () => {
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
    element.hidden = !model.get("signed_in");
    off.disabled = view.isBusy();
  };
  return { element, draw, drawFacts, drawLinks };
}

/** What stands above: whose key it is, what the kernel is at, what to mind, what went wrong. @param {View} view */
function headPart(view) {
  const { model } = view;
  const title = make("strong.title");
  const state = make("span.state", { role: "status" });
  const emblem = make("span.emblem", { "aria-hidden": "true" }, icon(ICONS.key));
  const mind = make("p.mind");
  const trouble = make("p.trouble", { role: "alert" });
  const draw = () => {
    const inUse = model.get("signed_in");
    const service = serviceOf(model);
    title.textContent = inUse ? service : `Sign in to ${service}`;
    emblem.replaceChildren(icon(inUse ? ICONS.tick : ICONS.key));
    sayIfAny(state, view.waiting && !model.get("busy")
      ? (view.slow ? "The kernel is busy; it comes to this when it is free" : "Asking …")
      : model.get("status"));
    const plain = globalThis.isSecureContext === false
      ? "This page came over plain http: others on the way could read a key." : "";
    const advice = [inUse ? "" : plain, model.get("advice")].filter(Boolean).join(" ");
    mind.hidden = !advice;
    mind.replaceChildren(icon(ICONS.mind), make("span", {}, advice));
    sayIfAny(trouble, view.complaint || model.get("error"));
  };
  const header = make("header", {}, emblem, make("span.heading", {}, title, state));
  return { elements: [header, mind, trouble], draw };
}

/** @param {Model} model */
const serviceOf = (model) => (model.get("_keys_url") ? "OpenRouter" : model.get("service"));

/** @param {HTMLElement} element @param {string} text */
const sayIfAny = (element, text) => {
  setText(element, text);
  element.hidden = !text;
};

/** Follow the kernel: what was sent is taken up, then done. @param {View} view @param {() => void} goOn */
function follow(view, goOn) {
  const { model } = view;
  /** The keyboard goes on where the work does, if it was in the form. */
  const done = () => {
    const here = view.isHere();
    view.draw();
    if (view.asked && here) goOn();
    view.asked = "";
  };
  model.on("change:busy", () => {
    view.takenUp();
    if (model.get("busy")) view.draw();
    else queueMicrotask(done);                        // what else is in the message comes first
  });
  model.on("change:error", () => {
    if (model.get("error")) view.takenUp();           // refused before it was even begun
    view.draw();
  });
  for (const name of ["status", "advice", "service", "signed_in", "_kept"]) {
    model.on(`change:${name}`, () => view.draw());
  }
}

/**
 * Draw one view.
 * @param {{ model: Model, el: HTMLElement }} context
 * @returns {() => void}
 */
function render({ model, el }) {
  const view = new View(model, el);
  const [head, ways, account, foot] = [headPart(view), waysPart(view), accountPart(view), make("p.foot")];
  const frame = make("section.frame", {}, ...head.elements, ways.element, account.element, foot);
  view.draw = () => {
    frame.setAttribute("aria-label", `Sign in to ${serviceOf(model)}`);
    frame.setAttribute("aria-busy", String(view.isBusy()));
    frame.classList.toggle("in", model.get("signed_in"));
    for (const part of [head, ways, account]) part.draw();
    foot.textContent = model.get("_kept")
      ? "The key is kept in this computer's keyring and in the kernel's memory, not in the notebook."
      : "The key stays in the kernel's memory: not in the notebook, its outputs or a log.";
  };
  const drawLinks = () => { ways.drawLinks(); account.drawLinks(); };
  follow(view, () => {
    if (model.get("signed_in")) account.element.focus({ preventScroll: true });
    else (view.asked === "code" ? ways.code : ways.key).focus();
  });
  for (const name of ["facts", "_left"]) model.on(`change:${name}`, account.drawFacts);
  for (const name of ["_auth_url", "_keys_url"]) model.on(`change:${name}`, drawLinks);

  // JupyterLab's shortcuts: a key pasted in command mode must not delete a cell.
  frame.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const save = (event.ctrlKey || event.metaKey) && event.key === "s";
    if (!save) event.stopPropagation();
  });
  el.classList.add("ornb-key");
  el.dataset.lmSuppressShortcuts = "true";
  el.append(frame);
  for (const draw of [drawLinks, account.drawFacts, view.draw]) draw();
  return () => {
    clearTimeout(view.timer);
    ways.key.forget();
    ways.code.forget();
    el.replaceChildren();
  };
}

export default { render };
