// Suggestions below a search field, on every page: sections, terms, names of code, numbers and symbols. `bookLookup` is lookup.js of the build; it is loaded when a field is first used, as a script, which works from disk too.
"use strict";

const NUMBER = /^(?:(chapter|section|sec\.?|exercise|ex\.?|solution|figure|fig\.?|equation|eq\.?)\s*)?\(?(\d+(?:\.\d+){0,2}(?:-\d+)?)\)?$/i;
const SHOWN = 8;
const ROOT = document.documentElement.dataset.content_root || "./";

const address = (page, anchor) => bookLookup.pages[page][1] + (anchor ? "#" + anchor : "");
const folded = (text) => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().trim().replace(/\s+/g, " ");
const singular = (text) => folded(text).replace(/([^s])s$/, "$1");
const bare = (text) => singular(text.replace(/(?<=[\p{L}\p{N}])-(?=\p{L})/gu, " "));  // `cross entropy` is `cross-entropy`
const asName = (text) => text.replace(/^d2l\.|\(\)$/g, "");  // as it stands in code, `d2l.Trainer()`
// The forms of a name: it, and what stands in brackets behind it, which may be a short form of it.
const formsOf = (text) => text.match(/^(.*?)(?: \((.*)\))?$/).slice(1).flatMap((part) => part?.split(", ") ?? []).map(bare);

// Texts and addresses of what a query names directly, the best one first: [text, address, kind].
function direct(query) {
  const asked = query.trim().replace(/\s+/g, " ");
  const number = asked.match(NUMBER);
  if (number) {
    const found = bookLookup.numbers[number[2]] || [];
    const kind = (number[1] || "").toLowerCase().replace(".", "");
    const fitting = found.filter(([text]) => text.toLowerCase().startsWith(kind));
    return (fitting.length ? fitting : found).map(([text, ...place]) => ["Go to " + text, address(...place), "number"]);
  }
  const command = asked.replace(/^\\/, ""), sign = Object.hasOwn(bookLookup.tex, command) ? bookLookup.tex[command] : "";
  const name = sign && (command !== asked || /^\p{Script=Greek}$/u.test(sign)) ? sign : asName(asked);
  const places = Object.hasOwn(bookLookup.symbols, name) ? bookLookup.symbols[name] : [];
  const forms = bookLookup.names.map((entry) => [formsOf(entry[0]), entry]);
  const wanted = bare(name);
  const exact = forms.filter(([names]) => names.includes(wanted));
  const longer = wanted.length < 5 ? [] : forms.filter(([[first]]) => first.startsWith(wanted));
  const named = (exact.length ? exact : longer.length <= 3 ? longer : []).map(([, entry]) => entry);
  return [
    ...named.map(([text, kind, url, where]) => [text + (kind === "term" ? ", defined in " : ", taught in ") + where, url, kind]),
    ...places.map((place) => [name + " in " + bookLookup.pages[place[0]][0], address(...place), "symbol"]),
  ];
}

// What begins with the query, then what has a word that does: [text, address, kind].
function suggestions(query) {
  const asked = folded(asName(query.trim()));
  if (!asked) return [];
  const found = direct(query).slice(0, 4).map((entry) => [-1, ...entry]);
  const taken = new Set(found.map((entry) => entry[2]));
  const candidates = [
    ...bookLookup.names.map(([text, kind, url, where]) => [text, url, kind, where]),
    ...bookLookup.pages.map(([text, url]) => [text, url, "section", ""]),
  ];
  for (const [text, url, kind, where] of candidates) {
    const full = folded(text);
    const name = full.replace(/^\d+\.\d+ /, "");
    const rank = name.startsWith(asked) || full.startsWith(asked) ? 0 : (" " + name).replace(/[-_.(]/g, " ").includes(" " + asked) ? 1 : 2;
    if (rank < 2 && !taken.has(url)) found.push([rank, text, url, kind, where]);
  }
  found.sort((a, b) => a[0] - b[0] || a[1].length - b[1].length || (a[1] < b[1] ? -1 : 1));
  return found.slice(0, SHOWN).map(([, ...entry]) => entry);
}

function load(name) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = ROOT + name;
    script.onload = done;
    script.onerror = failed;
    document.head.append(script);
  });
}
let loading;
const ready = () => (loading ??= typeof bookLookup === "undefined" ? load("lookup.js") : Promise.resolve());

// A search field with a list of suggestions: the pattern "combobox" of WAI-ARIA.
class Suggest {
  constructor(field, number) {
    this.field = field;
    this.list = document.createElement("ul");
    this.list.id = "suggestions-" + number;
    this.list.className = "suggestions";
    this.list.hidden = true;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Suggestions");
    field.closest("form").append(this.list);
    for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-expanded", "false"], ["aria-controls", this.list.id]]) {
      field.setAttribute(name, value);
    }
    field.addEventListener("focus", ready);
    field.addEventListener("input", () => ready().then(() => this.show()));
    field.addEventListener("keydown", (event) => this.key(event));
    field.addEventListener("blur", () => this.close());
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => this.go(event.target.closest("li")));
  }
  get options() {
    return [...this.list.children];
  }
  show() {
    this.list.replaceChildren(
      ...suggestions(this.field.value).map(([text, url, kind, where], i) => {
        const item = document.createElement("li");
        item.id = this.list.id + "-" + i;
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", "false");
        item.dataset.url = url;
        const name = item.appendChild(document.createElement(kind === "code" ? "code" : "span"));
        name.textContent = text;
        const note = item.appendChild(document.createElement("small"));
        note.textContent = kind + (where ? ", " + where : "");
        return item;
      }),
    );
    this.open(this.options.length > 0);
    this.choose(-1);
  }
  open(is) {
    this.list.hidden = !is;
    this.field.setAttribute("aria-expanded", String(is));
  }
  close() {
    this.open(false);
    this.choose(-1);
  }
  choose(index) {
    this.chosen = index;
    this.options.forEach((item, i) => item.setAttribute("aria-selected", String(i === index)));
    const item = this.options[index];
    if (item) {
      this.field.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    } else this.field.removeAttribute("aria-activedescendant");
  }
  key(event) {
    const count = this.options.length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!count) return;
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.open(true);
      this.choose(this.chosen + step < -1 ? count - 1 : this.chosen + step >= count ? -1 : this.chosen + step);
    } else if (event.key === "Enter" && this.options[this.chosen]) {
      event.preventDefault();
      this.go(this.options[this.chosen]);
    }
  }
  escape(event) {
    if (event.key !== "Escape" || event.target !== this.field || this.list.hidden) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.close();
  }
  go(item) {
    if (item) location.href = ROOT + item.dataset.url;
  }
}

const fields = [];
// At once and from above, so before the theme, which closes its dialog by the same key.
addEventListener("keydown", (event) => fields.forEach((field) => field.escape(event)), { capture: true });
addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("form.bd-search input[name=q]").forEach((field, i) => fields.push(new Suggest(field, i)));
});
