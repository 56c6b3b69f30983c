/**
 * The picker's catalogue: flat columns, which rows of them meet the filters, and how values are written.
 *
 * It arrives once. Each key press walks one ready-made order of the rows.
 *
 * @typedef {object} Coded  a column of few distinct values
 * @property {(string | string[] | null)[]} legend
 * @property {number[]} codes
 *
 * @typedef {object} Table  the columns as Python sends them; prices in USD per million tokens
 * @property {string[]} id
 * @property {string[]} name
 * @property {Record<string, (number | null)[]>} numbers  dates among them, in Unix seconds
 * @property {Record<string, (number | null)[]>} ranks    places of text in alphabetical order
 * @property {Record<string, (0 | 1)[]>} flags
 * @property {Record<string, Coded>} words
 *
 * @typedef {Record<string, any>} Filters
 */

/** Filters that ask for a flag (true), for its absence (false), or not at all (null). */
export const ASKED_FLAGS = {
  free: "is_free", tools: "tools", reasoning: "reasoning", structured_outputs: "structured_outputs",
};
/** Kinds of rows that are left out unless their filter is true. */
const KINDS = { routers: "is_router", aliases: "is_alias", batch: "is_batch" };
/** Lists of which a row must have all. */
const ALL_OF = {
  accepts: "input_modalities", returns: "output_modalities", parameters: "supported_parameters",
};

// --- how values are written ----------------------------------------------------------------------

export const whole = new Intl.NumberFormat("en-US");
const dollars = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const cents = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
export const exact = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 8 });
const few = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 2 });
const three = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 });

/** 128000 and 131072 are both "128k", as people say it. @param {number} count */
export const tokens = (count) => {
  for (const base of [1000, 1024]) {
    if (count % base === 0) {
      const thousands = count / base;
      return thousands >= base ? `${three.format(thousands / base)}M` : `${thousands}k`;
    }
  }
  return count >= 1_000_000 ? `${three.format(count / 1_000_000)}M` : whole.format(count);
};

/** @param {number} price */
export const usd = (price) => {
  if (price === 0) return "$0";
  if (price >= 1) return `$${dollars.format(price)}`;
  return `$${price < 0.00005 ? few.format(price) : cents.format(price)}`;
};

/** @param {number} seconds */
export const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

/** @type {Record<string, (value: number) => string>} */
export const WRITE = { tokens, usd, date: day, points: (value) => value.toFixed(1) };

/** Words of a search for what a model is good at, and the benchmark that tells. @type {Record<string, string>} */
const GOOD_AT = { coding: "coding_index", agentic: "agentic_index", intelligence: "intelligence_index" };
const NEWEST = /** @type {[string, boolean]} */ (["created", false]);

/** Python's casefold, near enough that a word finds what it finds there. @param {string} text */
const fold = (text) => text.toUpperCase().toLowerCase().replaceAll("ς", "σ");

/** @param {string} search */
const wordsOf = (search) => fold(search).split(/\s+/).filter(Boolean);

/** An id, or what is searched, without its author and its hyphens. @param {string} id */
const bareId = (id) => id.replace(/.*\/|[-._: ]/g, "");

/** Whether a text has a word; of gpt4 also gpt-4. @param {string} word @returns {(text: string) => boolean} */
const finder = (word) => {
  const bare = word.replace(/[-._/: ]/g, "");
  if (!/^[a-z]+[0-9][a-z0-9]*$/.test(bare)) return (text) => text.includes(word);
  const parted = new RegExp(`(?:^|[-._/: \\n])${[...bare].join("[-._/: ]?")}`);
  return (text) => text.includes(word) || parted.test(text);
};

/** A word, and what it is without any one of its letters. @param {string} word */
const less = (word) => {
  const letters = [...word];
  return [word, ...letters.map((_, at) => letters.toSpliced(at, 1).join(""))];
};

// --- the catalogue ---------------------------------------------------------------------------------

/** The rows, and which of them meet the filters, in order. */
export class Catalogue {
  /** @param {Table} table */
  constructor(table) {
    this.table = table;
    this.size = table.id?.length ?? 0;
    this.texts = Array.from({ length: this.size }, (_, i) => fold(`${table.id[i]}\n${table.name[i]}`));
    this.bare = (table.id ?? []).map((id) => bareId(fold(id)));
    /** @type {Map<string, number>} */
    this.rowOf = new Map((table.id ?? []).map((id, i) => [id, i]));
    /** @type {Map<string, number[]>} */
    this.orders = new Map();
    /** @type {Record<string, number>} */
    this.bests = {};
  }

  /** @param {string} key */
  number(key) { return this.table.numbers[key]; }

  /** @param {string} key @param {number} i */
  flag(key, i) { return this.table.flags[key][i] === 1; }

  /** Whether 0 a token is not free: an image, a song, a request is billed. @param {number} i */
  inOtherUnit(i) {
    const prices = ["prompt_usd_per_million", "completion_usd_per_million"].map((key) => this.number(key)[i]);
    return !this.flag("is_free", i) && prices.every((price) => price === 0);
  }

  /** @param {string} key @param {number} i */
  word(key, i) { const { legend, codes } = this.table.words[key]; return legend[codes[i]]; }

  /** The most points in a column, 1 at least. @param {string} key */
  best(key) { return this.bests[key] ??= Math.max(1, ...this.number(key).map((value) => value ?? 0)); }

  /** What a column lists, each alone, in alphabetical order. @param {string} key @returns {string[][]} */
  listed(key) {
    const all = (this.table.words?.[key]?.legend ?? []).flat().filter((one) => one !== null);
    return [...new Set(all)].sort().map((one) => [one]);
  }

  /** All rows in one order: ties as listed, missing values last. @param {string} key @param {boolean} up */
  order(key, up) {
    const name = `${key} ${up}`;
    let order = this.orders.get(name);
    if (!order) {
      const values = this.table.ranks[key] ?? this.table.numbers[key];
      const sign = up ? 1 : -1;
      order = Array.from({ length: this.size }, (_, i) => i).sort((a, b) => {
        const [x, y] = [values[a], values[b]];
        if (x === null || y === null) return (x === null ? 1 : 0) - (y === null ? 1 : 0);
        return sign * (x - y);
      });
      this.orders.set(name, order);
    }
    return order;
  }

  /** One function a filter that is set. @param {Filters} filters @returns {((i: number) => boolean)[]} */
  tests(filters) {
    const { numbers, flags, words } = this.table;
    /** @type {((i: number) => boolean)[]} */
    const tests = [];
    for (const [name, column] of Object.entries(KINDS)) {
      if (!filters[name]) tests.push((i) => flags[column][i] === 0);
    }
    for (const [name, column] of Object.entries(ASKED_FLAGS)) {
      if (filters[name] === null) continue;
      const wanted = filters[name] ? 1 : 0;
      tests.push((i) => flags[column][i] === wanted);
    }
    for (const [name, column] of Object.entries(ALL_OF)) {
      if (!filters[name]) continue;
      const { legend, codes } = words[column];
      const good = legend.map((listed) => filters[name].every((/** @type {string} */ one) => listed?.includes(one)));
      tests.push((i) => good[codes[i]]);
    }
    for (const name of ["kind", "family", "author"]) {
      if (!filters[name]) continue;
      const wanted = new Set(filters[name].map(fold));
      const { legend, codes } = words[name];
      const good = legend.map((one) => one !== null && wanted.has(fold(String(one))));
      tests.push((i) => good[codes[i]]);
    }
    for (const column of ["prompt_usd_per_million", "completion_usd_per_million"]) {
      const most = filters[`max_${column}`];
      const values = numbers[column];
      if (most !== null) tests.push((i) => values[i] !== null && values[i] <= most);
    }
    const context = numbers.context_length;
    const least = filters.min_context;
    if (least !== null) tests.push((i) => context[i] !== null && context[i] >= least);
    for (const word of wordsOf(filters.search)) tests.push(this.fits(word));
    return tests;
  }

  /** Which rows one word of a search fits. @param {string} word @returns {(i: number) => boolean} */
  fits(word) {
    const found = finder(word);
    const points = Object.hasOwn(GOOD_AT, word) ? this.number(GOOD_AT[word]) : [];
    return (i) => found(this.texts[i]) || (points[i] ?? null) !== null;
  }

  /** @param {Filters} filters @param {[string, boolean]} sort  by "match": the best match first, else the newest */
  matches(filters, sort) {
    const tests = this.tests(filters);
    const best = sort[0] === "match";
    const found = this.order(...(best ? NEWEST : sort)).filter((i) => tests.every((test) => test(i)));
    return best ? this.bestFirst(found, wordsOf(filters.search)) : found;
  }

  /**
   * The id that is the search first, then those that begin so; or the best at what is asked.
   * @param {number[]} rows @param {string[]} words
   */
  bestFirst(rows, words) {
    const asked = words.find((word) => Object.hasOwn(GOOD_AT, word));
    const points = asked ? this.number(GOOD_AT[asked]) : null;
    if (points) return rows.toSorted((a, b) => (points[b] ?? -Infinity) - (points[a] ?? -Infinity) || 0);
    if (!words.length) return rows;
    const wanted = bareId(words.join(" "));
    const places = this.bare.map((one) => (one === wanted ? 0 : one.startsWith(wanted) ? 1 : 2));
    return rows.toSorted((a, b) => places[a] - places[b]);
  }

  /** A search with each word that fits nothing put right, by a letter; "" if none is near. @param {string} search */
  meant(search) {
    if (!this.parts) {
      /** @type {Map<string, number>} */
      this.parts = new Map();
      for (const text of this.texts) {
        for (const [part] of text.matchAll(/[a-z0-9]{4,}/g)) this.parts.set(part, (this.parts.get(part) ?? 0) + 1);
      }
    }
    const words = wordsOf(search);
    const meant = words.map((word) => {
      const fits = this.fits(word);
      if (this.texts.some((_, i) => fits(i))) return word;
      const length = [...word].length;
      const without = new Set(less(word));
      let [found, most] = ["", 0];
      for (const [part, count] of /** @type {Map<string, number>} */ (this.parts)) {
        if (count <= most || length < 4 || Math.abs(part.length - length) > 1) continue;
        if (less(part).some((one) => without.has(one))) [found, most] = [part, count];
      }
      return found;
    });
    return meant.every(Boolean) && meant.some((word, at) => word !== words[at]) ? meant.join(" ") : "";
  }

  /** Columns that a filter asks for, and the server tells of no model. @param {Filters} filters */
  untold(filters) {
    return Object.entries(this.table.numbers).flatMap(([column, values]) => {
      const asked = column === "context_length" ? filters.min_context : filters[`max_${column}`] ?? null;
      return asked !== null && values.every((value) => value === null) ? [column] : [];
    });
  }
}
