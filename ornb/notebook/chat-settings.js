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

/** The labelled inputs of a drawer, each of which sets what it is named for. */
class Fields {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.unique = Math.random().toString(36).slice(2);
    /** @type {Map<string, any>} */
    this.inputs = new Map();
  }

  /** @param {string} name @param {any} value */
  set(name, value) { tell(this.model, { type: "set", name, value }); }

  /** @param {string} label @param {string} hint @param {any} input @param {string} name */
  row(label, hint, input, name) {
    const field = `ornb-${this.unique}-${name.replace(/\W/g, "-")}`;
    input.id = field;
    const off = iconButton("close", `Unset ${label}`, () => {
      this.set(name, null);
      input.focus();
    }, "off");
    const head = make("span", { className: "head" },
      make("label", { textContent: label, htmlFor: field }),
      make("small", { textContent: hint, id: `${field}-hint` }), off);
    input.setAttribute("aria-describedby", `${field}-hint`);
    this.inputs.set(name, input);
    return make("div", { className: "field" }, head, input);
  }

  /** @param {string} tag @param {string} name @param {object} props */
  plain(tag, name, props) {
    const input = make(tag, { autocomplete: "off", spellcheck: tag === "textarea", ...props });
    input.onchange = () => this.set(name, input.value);
    return input;
  }

  /** The row of a parameter, as the kernel describes it. @param {any} field */
  control(field) {
    const input = this.inputFor(field);
    const hint = field.kind === "float" || field.kind === "int" ? field.takes : "";
    const element = this.row(field.name, hint, input, field.name);
    element.title = field.meaning;
    return element;
  }

  /** @param {any} field */
  inputFor(field) {
    const { kind, name } = field;
    const none = field.default === null ? "default"
      : `default: ${kind === "bool" ? (field.default ? "on" : "off") : field.default}`;
    /** @type {any} */
    let input;
    if (kind === "choice" || kind === "bool") {
      /** @type {[string, string][]} */
      const pairs = kind === "bool" ? [["true", "on"], ["false", "off"]]
        : field.choices.map((/** @type {string} */ choice) => [choice, choice]);
      input = make("select", {}, make("option", { value: "", textContent: none }),
        ...pairs.map(([value, text]) => make("option", { value, textContent: text })));
      input.onchange = () => this.set(name,
        kind === "bool" && input.value ? input.value === "true" : input.value || null);
    } else if (kind === "text") {
      input = make("input", { type: "text", placeholder: "none" });
      input.onchange = () => this.set(name, input.value || null);
    } else {
      input = make("input", { type: "number", placeholder: none, step: kind === "int" ? 1 : "any" });
      if (field.minimum !== null) input.min = field.minimum;
      if (field.maximum !== null) input.max = field.maximum;
      input.onchange = () => this.set(name, input.value === "" ? null : Number(input.value));
    }
    return input;
  }

  /** Show the values; what was refused stays as it was typed. @param {any} told */
  fill(told) {
    const values = { model: this.model.get("model") ?? "", system: told.system, models: told.models,
      "provider.order": told.providers,
      ...Object.fromEntries(told.fields.map((/** @type {any} */ field) => [field.name, field.value])) };
    for (const [name, value] of Object.entries(values)) {
      const input = this.inputs.get(name);
      const text = value === null || value === undefined ? "" : String(value);
      const bad = told.problem && told.name === name;
      if (!bad && input.value !== text) input.value = text;
      input.ariaInvalid = String(Boolean(bad));
      input.closest(".field").classList.toggle("set", text !== "");
    }
  }
}

/** The rows of what can be set of the model: the usual ones, and the others to be opened. @param {Fields} fields */
function parameterRows(fields) {
  const main = make("div", { className: "grid" });
  const more = make("div", { className: "grid" });
  const rest = make("details", { className: "more" }, make("summary", { textContent: "More" }), more);
  const providers = fields.row("Providers", "in the order to be tried",
    fields.plain("input", "provider.order", { placeholder: "any" }), "provider.order");
  more.append(providers);
  /** @param {any[]} described */
  const draw = (described) => {
    const [top, low] = [true, false].map((first) => described.filter(
      ({ name }) => FIRST.includes(name) === first).map((field) => fields.control(field)));
    main.replaceChildren(...top);
    more.replaceChildren(...low, providers);
  };
  return { elements: [main, rest], draw };
}

/** The drawer: what is asked, and how. @param {Model} model @param {State} state */
export function settingsElement(model, state) {
  const fields = new Fields(model);
  const ids = make("datalist", { id: `ornb-models-${fields.unique}` });
  const trouble = make("p", { className: "trouble", role: "alert", hidden: true });
  const others = make("p", { className: "others", hidden: true });
  const reset = make("button", { type: "button", className: "plain small",
    textContent: "Reset all", title: "Take away all that is set here, but model and system" });
  reset.onclick = () => tell(model, { type: "reset" });
  const chosen = fields.plain("input", "model", { type: "text" });
  chosen.setAttribute("list", ids.id);
  const system = fields.plain("textarea", "system", { rows: 2,
    placeholder: "A message to the model that goes before all others" });
  const rows = parameterRows(fields);
  const root = make("section", { className: "settings", ariaLabel: "Settings", hidden: true },
    ids,
    make("div", { className: "grid two" },
      fields.row("Model", "of the next answer", chosen, "model"),
      fields.row("Fallback models", "tried in turn, if it fails",
        fields.plain("input", "models", { placeholder: "author/model, author/model" }), "models")),
    fields.row("System", "", system, "system"), ...rows.elements,
    make("div", { className: "row" }, others, reset), trouble);

  let drawn = "";
  const draw = () => {
    const told = state.settings;
    if (!told) return;
    const signature = JSON.stringify(told.fields.map(
      (/** @type {any} */ { value, ...field }) => field));
    if (signature !== drawn) {
      drawn = signature;
      rows.draw(told.fields);
      if (told.table) {
        ids.replaceChildren(...told.table.id.map((/** @type {string} */ id) => make("option", { value: id })));
      }
    }
    chosen.placeholder = model.get("_default_model") || "the service's default";
    fields.fill(told);
    trouble.textContent = told.problem;
    trouble.hidden = !told.problem;
    others.textContent = told.others ? `Also sent, from code: ${told.others}` : "";
    others.hidden = !told.others;
  };
  const open = () => {
    tell(model, { type: "settings", models: !state.settings?.table });
    chosen.focus();
  };
  return { root, draw, open };
}
