/**
 * The chat's header says who is asked, and chooses another: a search over the picker's catalogue.
 *
 * The list is filtered in the page; that an id is a model's is checked by the kernel.
 *
 * @typedef {import("./chat-view.js").View} View
 */

import { NO_KERNEL } from "./chat-view.js";
import { make, setText } from "./elements.js";
import { tell } from "./kernel.js";
import { Catalogue, tokens, usd } from "./picker-table.js";

const MOST = 50;
/** No filter but the search; rows of the Batch API answer no chat. */
const ALL = { routers: true, aliases: true, batch: false, free: null, tools: null, reasoning: null,
  structured_outputs: null, max_prompt_usd_per_million: null, max_completion_usd_per_million: null,
  min_context: null };

/** What one pays and how much it reads, in a few words. @param {Catalogue} catalogue @param {number} i */
function inShort(catalogue, i) {
  const [sent, made, room] = ["prompt_usd_per_million", "completion_usd_per_million", "context_length"]
    .map((name) => catalogue.number(name)[i]);
  const price = sent === null || made === null ? ""
    : catalogue.flag("is_free", i) ? "free"
      : catalogue.inOtherUnit(i) ? "other unit" : `${usd(sent)} → ${usd(made)} per M`;
  return [price, room === null ? "" : `${tokens(room)} tokens`].filter(Boolean).join(" · ");
}

/** The rows that fit, and what is said of them. @param {Catalogue} catalogue @param {string} search */
function found(catalogue, search) {
  const sort = /** @type {[string, boolean]} */ (["match", false]);
  const rows = catalogue.matches({ ...ALL, search }, sort);
  if (rows.length || !search.trim()) return { rows, said: "" };
  const meant = catalogue.meant(search);
  if (!meant) return { rows, said: `No model fits “${search.trim()}”.` };
  return { rows: catalogue.matches({ ...ALL, search: meant }, sort),
    said: `Nothing fits “${search.trim()}”; near it is “${meant}”:` };
}

/** The list below the search box, walked from there. */
class Choices {
  /** @param {(id: string) => void} choose */
  constructor(choose) {
    this.name = `ornb-choices-${Math.random().toString(36).slice(2)}`;
    this.element = make("ul.choices", { id: this.name, role: "listbox", "aria-label": "Models" });
    this.choose = choose;
    this.at = -1;
  }

  /** @param {Catalogue} catalogue @param {number[]} rows @param {string} now */
  show(catalogue, rows, now) {
    const { table } = catalogue;
    this.element.replaceChildren(...rows.slice(0, MOST).map((i, place) => {
      const id = table.id[i];
      const option = make("li", { id: `${this.name}-${place}`, role: "option",
        "aria-selected": String(id === now) }, make("span.id", {}, id),
        make("small", {}, inShort(catalogue, i)));
      option.dataset.model = id;
      option.onpointerdown = (/** @type {Event} */ event) => event.preventDefault();
      option.onclick = () => this.choose(id);
      return option;
    }));
    this.at = -1;
  }

  /** @param {number} place @returns {HTMLElement | undefined} what is meant by Enter from now on */
  go(place) {
    const { children } = this.element;
    children[this.at]?.classList.remove("active");
    this.at = Math.max(-1, Math.min(place, children.length - 1));
    children[this.at]?.classList.add("active");
    children[this.at]?.scrollIntoView({ block: "nearest" });
    return children[this.at];
  }
}

/** Who is asked, as a button, and what it opens. */
export class ModelPart {
  /** @param {View} view */
  constructor(view) {
    this.view = view;
    this.button = make("button.model", { type: "button", title: "Choose another model",
      "aria-expanded": "false" });
    this.note = make("p.note", { role: "status" });
    this.trouble = make("p.trouble", { role: "alert", hidden: true });
    this.choices = new Choices((id) => this.choose(id));
    this.search = make("input", { type: "search", role: "combobox", autocomplete: "off",
      spellcheck: false, placeholder: "Search models, or type an id", "aria-label": "Model to ask next",
      "aria-controls": this.choices.name, "aria-autocomplete": "list", "aria-expanded": "true" });
    this.root = make("section.models", { "aria-label": "Choose a model", hidden: true },
      this.search, this.note, this.trouble, this.choices.element);
    /** @type {Catalogue | null} */
    this.catalogue = null;
    this.waits = false;                      // for what the kernel says to a choice
    this.button.onclick = () => this.show(this.root.hidden);
    this.search.oninput = () => this.list();
    this.search.onkeydown = (/** @type {KeyboardEvent} */ event) => this.onKey(event);
  }

  asked() { return this.view.model.get("model") || this.view.model.get("_default_model") || "default model"; }

  draw() { setText(this.button, this.asked()); }

  /** @param {boolean} open */
  show(open) {
    const { view, search } = this;
    this.root.hidden = !open;
    this.button.ariaExpanded = String(open);
    if (!open) return view.box.focus({ preventScroll: true });
    search.value = "";
    tell(view.model, { type: "settings", models: !view.state.settings?.table });
    this.list();
    search.focus();
  }

  /** Show what fits the search; the first is meant by Enter, unless it is only near. */
  list() {
    const { settings } = this.view.state;
    this.say("");
    if (settings?.table && this.catalogue?.table !== settings.table) {
      this.catalogue = new Catalogue(settings.table);
    }
    if (!this.catalogue) {
      const untold = settings && !settings.table;
      return setText(this.note, untold ? "No list of models came: type an id and press Enter." : "");
    }
    const { rows, said } = found(this.catalogue, this.search.value);
    this.choices.show(this.catalogue, rows, this.asked());
    const many = rows.length > MOST ? `${rows.length} models, the first ${MOST} are shown.` : "";
    setText(this.note, said || many);
    this.go(this.search.value.trim() && !said ? 0 : -1);
  }

  /** @param {string} text */
  say(text) {
    this.trouble.textContent = text;
    this.trouble.hidden = !text;
  }

  /** @param {number} place */
  go(place) {
    this.search.setAttribute("aria-activedescendant", this.choices.go(place)?.id ?? "");
  }

  /** @param {string} id */
  choose(id) {
    this.waits = tell(this.view.model, { type: "set", name: "model", value: id });
    if (!this.waits) this.say(NO_KERNEL);
    this.view.expectSoon();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const { at, element } = this.choices;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowDown: () => this.go(at + 1),
      ArrowUp: () => this.go(at - 1),
      Escape: () => { this.show(false); this.button.focus(); },
      Enter: () => {
        const row = /** @type {HTMLElement | undefined} */ (element.children[at]);
        const id = row?.dataset.model ?? this.search.value.trim();
        if (id) this.choose(id);
      },
    };
    if (event.isComposing || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }

  /** The kernel tells of the settings: the list is there, or a choice was taken or refused. */
  told() {
    if (this.root.hidden) return;
    const { settings } = this.view.state;
    if (!this.waits || settings.name !== "model") return this.list();
    this.waits = false;
    if (settings.problem) this.say(settings.problem);
    else this.show(false);
  }
}
