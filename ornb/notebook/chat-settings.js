/**
 * The chat's drawer of settings: what is asked, and how.
 *
 * @typedef {import("./chat-state.js").State} State
 * @typedef {import("./kernel.js").Model} Model
 */

import { iconButton } from "./chat-buttons.js";
import { make } from "./elements.js";
import { tell } from "./kernel.js";

const FIRST = ["temperature", "top_p", "max_tokens", "reasoning.enabled", "reasoning.effort",
  "reasoning.max_tokens", "verbosity"];

/** The drawer: what is asked, and how. @param {Model} model @param {State} state */
export function settingsElement(model, state) {
  const unique = Math.random().toString(36).slice(2);
  /** @type {Map<string, any>} */
  const inputs = new Map();
  const ids = make("datalist", { id: `ornb-models-${unique}` });
  const main = make("div", { className: "grid" });
  const more = make("div", { className: "grid" });
  const rest = make("details", { className: "more" }, make("summary", { textContent: "More" }), more);
  const trouble = make("p", { className: "trouble", role: "alert", hidden: true });
  const others = make("p", { className: "others", hidden: true });
  const reset = make("button", { type: "button", className: "plain small",
    textContent: "Reset all", title: "Take away all that is set here, but model and system" });
  reset.onclick = () => tell(model, { type: "reset" });

  /** @param {string} name @param {any} value */
  const set = (name, value) => tell(model, { type: "set", name, value });

  /** @param {string} label @param {string} hint @param {any} input @param {string} name */
  const row = (label, hint, input, name) => {
    const field = `ornb-${unique}-${name.replace(/\W/g, "-")}`;
    input.id = field;
    const off = iconButton("close", `Unset ${label}`, () => {
      set(name, null);
      input.focus();
    }, "off");
    const head = make("span", { className: "head" },
      make("label", { textContent: label, htmlFor: field }),
      make("small", { textContent: hint, id: `${field}-hint` }), off);
    input.setAttribute("aria-describedby", `${field}-hint`);
    inputs.set(name, input);
    return make("div", { className: "field" }, head, input);
  };

  const plain = (/** @type {string} */ tag, /** @type {string} */ name, /** @type {object} */ props) => {
    const input = make(tag, { autocomplete: "off", spellcheck: tag === "textarea", ...props });
    input.onchange = () => set(name, input.value);
    return input;
  };
  const chosen = plain("input", "model", { type: "text" });
  chosen.setAttribute("list", ids.id);
  const system = plain("textarea", "system", { rows: 2,
    placeholder: "A message to the model that goes before all others" });
  const root = make("section", { className: "settings", ariaLabel: "Settings", hidden: true },
    ids,
    make("div", { className: "grid two" },
      row("Model", "of the next answer", chosen, "model"),
      row("Fallback models", "tried in turn, if it fails",
        plain("input", "models", { placeholder: "author/model, author/model" }), "models")),
    row("System", "", system, "system"), main, rest,
    make("div", { className: "row" }, others, reset), trouble);
  more.append(row("Providers", "in the order to be tried",
    plain("input", "provider.order", { placeholder: "any" }), "provider.order"));

  /** @param {any} field */
  const control = (field) => {
    const none = field.default === null ? "default"
      : `default: ${field.kind === "bool" ? (field.default ? "on" : "off") : field.default}`;
    /** @type {any} */
    let input;
    if (field.kind === "choice" || field.kind === "bool") {
      /** @type {[string, string][]} */
      const pairs = field.kind === "bool" ? [["true", "on"], ["false", "off"]]
        : field.choices.map((/** @type {string} */ choice) => [choice, choice]);
      input = make("select", {}, make("option", { value: "", textContent: none }),
        ...pairs.map(([value, text]) => make("option", { value, textContent: text })));
      input.onchange = () => set(field.name,
        field.kind === "bool" && input.value ? input.value === "true" : input.value || null);
    } else if (field.kind === "text") {
      input = make("input", { type: "text", placeholder: "none" });
      input.onchange = () => set(field.name, input.value || null);
    } else {
      input = make("input", { type: "number", placeholder: none, step: field.kind === "int" ? 1 : "any" });
      if (field.minimum !== null) input.min = field.minimum;
      if (field.maximum !== null) input.max = field.maximum;
      input.onchange = () => set(field.name, input.value === "" ? null : Number(input.value));
    }
    const hint = field.kind === "float" || field.kind === "int" ? field.takes : "";
    const element = row(field.name, hint, input, field.name);
    element.title = field.meaning;
    return element;
  };

  let drawn = "";
  const draw = () => {
    const told = state.settings;
    if (!told) return;
    const signature = JSON.stringify(told.fields.map(
      (/** @type {any} */ { value, ...field }) => field));
    if (signature !== drawn) {
      drawn = signature;
      const keep = more.lastElementChild;
      const [top, low] = [[], []].map((_, low) => told.fields.filter(
        (/** @type {any} */ { name }) => FIRST.includes(name) === !low).map(control));
      main.replaceChildren(...top);
      more.replaceChildren(...low, keep);
      if (told.ids) {
        ids.replaceChildren(...told.ids.map((/** @type {string} */ id) => make("option", { value: id })));
      }
    }
    chosen.placeholder = model.get("_default_model") || "the service's default";
    const values = { model: model.get("model") ?? "", system: told.system, models: told.models,
      "provider.order": told.providers,
      ...Object.fromEntries(told.fields.map((/** @type {any} */ field) => [field.name, field.value])) };
    for (const [name, value] of Object.entries(values)) {
      const input = inputs.get(name);
      const text = value === null || value === undefined ? "" : String(value);
      const bad = told.problem && told.name === name;
      if (!bad && input.value !== text) input.value = text;
      input.ariaInvalid = String(Boolean(bad));
      input.closest(".field").classList.toggle("set", text !== "");
    }
    trouble.textContent = told.problem;
    trouble.hidden = !told.problem;
    others.textContent = told.others ? `Also sent, from code: ${told.others}` : "";
    others.hidden = !told.others;
  };
  const open = () => {
    tell(model, { type: "settings", models: !state.settings?.ids });
    chosen.focus();
  };
  return { root, draw, open };
}
