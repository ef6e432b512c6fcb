// The search page: what a query names directly, then the parts of sections that have its words, with an excerpt of each. `bookTexts` is texts.js of the build, [page, anchor, heading, prose, italics, names in code].
"use strict";

const RESULTS = 40;
const PER_PAGE = 3;
const EXCERPT = 230;
const word = (term) => singular(term);

const index = new MiniSearch({
  fields: ["title", "heading", "italics", "prose", "code"],
  processTerm: (term) => word(term) || null,
  searchOptions: {
    boost: { title: 6, heading: 5, italics: 4, code: 0.7 },
    prefix: (term) => term.length > 2,
    fuzzy: (term) => (term.length > 4 ? 0.2 : false),
    weights: { prefix: 0.6, fuzzy: 0.2 },
    combineWith: "AND",
  },
});
// Exercises ask, solutions tell, sources cite: what explains comes first.
const weight = ([, anchor]) => (/^solution/.test(anchor) ? 0.3 : /^(exercise|sources)/.test(anchor) ? 0.5 : 1);

function search(query) {
  index.addAll(
    bookTexts.map(([page, anchor, heading, prose, italics, code], id) => ({
      id, heading, italics, prose, code,
      title: anchor ? "" : bookLookup.pages[page][0],
    })),
  );
  // The section that defines the term, or has it in its title, before those that use it.
  const homes = new Set(direct(query).map(([, url]) => url.split("#")[0]));
  const boostDocument = (id) => weight(bookTexts[id]) * (homes.has(bookLookup.pages[bookTexts[id][0]][1]) ? 4 : 1);
  let found = index.search(query, { boostDocument });
  if (!found.length) found = index.search(query, { boostDocument, combineWith: "OR" });
  if (!found.length) found = index.search(query, { boostDocument, fuzzy: 0.34 });  // `dropuot`
  const counts = {};
  return found.filter(({ id }) => (counts[bookTexts[id][0]] = (counts[bookTexts[id][0]] || 0) + 1) <= PER_PAGE).slice(0, RESULTS);
}

// The words around the first place that has one, those marked.
function excerpt(text, terms) {
  const words = terms.map((term) => term.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).sort((a, b) => b.length - a.length);
  const pattern = new RegExp("(?<![\\p{L}\\p{N}])(?:" + words.join("|") + ")[\\p{L}\\p{N}]*", "giu");
  const first = words.length ? text.search(pattern) : -1;
  let start = Math.max(0, first - EXCERPT / 3);
  if (start) start = text.indexOf(" ", start) + 1;
  let end = text.lastIndexOf(" ", start + EXCERPT);
  if (text.length <= start + EXCERPT || end <= start) end = text.length;
  const piece = text.slice(start, end);
  const line = document.createElement("p");
  line.className = "context";
  line.append(start ? "… " : "");
  let done = 0;
  for (const match of words.length ? piece.matchAll(pattern) : []) {
    line.append(piece.slice(done, match.index));
    line.appendChild(document.createElement("mark")).textContent = match[0];
    done = match.index + match[0].length;
  }
  line.append(piece.slice(done), end < text.length ? " …" : "");
  return line;
}

function link(text, url) {
  const found = document.createElement("a");
  found.href = url;
  found.textContent = text;
  return found;
}

addEventListener("DOMContentLoaded", () => {
  const query = new URLSearchParams(location.search).get("q") || "";
  const field = document.querySelector(".bd-search-container input[name=q]");
  field.value = query;
  if (!query.trim()) return field.focus();
  document.title = query + " – " + document.title;
  const results = document.getElementById("search-results");
  const named = direct(query);
  if (named.length) {
    const list = document.createElement("ul");
    list.className = "lookup";
    for (const [text, url] of named) list.appendChild(document.createElement("li")).append(link(text, url));
    results.before(list);
  }
  const found = NUMBER.test(query.trim()) && named.length ? [] : search(query);
  const summary = results.appendChild(document.createElement("p"));
  summary.className = "search-summary";
  summary.setAttribute("role", "status");
  const missing = NUMBER.test(query.trim()) && !named.length ? "Nothing in the book has the number " + query.trim() + ". " : "";
  summary.textContent = found.length
    ? missing + found.length + (found.length === 1 ? " place" : " places") + " in the sections"
    : named.length ? "" : "No page has these words. Numbers such as 3.4, 3.4.1 or Exercise 3.4-1 and symbols such as λ lead to their places.";
  const list = results.appendChild(document.createElement("ul"));
  list.className = "search";
  for (const { id, queryTerms, terms } of found) {
    const [page, anchor, heading, prose] = bookTexts[id];
    const item = list.appendChild(document.createElement("li"));
    item.append(link(bookLookup.pages[page][0] + (heading ? " › " + heading : ""), address(page, anchor)));
    if (prose) item.append(excerpt(prose, [...new Set([...queryTerms, ...terms])]));
  }
});
