// Numbers and symbols in the search page: what Sphinx's index of words cannot find stands first. `bookLookup` is lookup.js of the build.
"use strict";

const NUMBER = /^(?:(chapter|section|sec\.?|exercise|ex\.?|solution|figure|fig\.?|equation|eq\.?)\s*)?\(?(\d+(?:\.\d+){0,2}(?:-\d+)?)\)?$/i;

const address = (page, anchor) => bookLookup.pages[page][1] + (anchor ? "#" + anchor : "");

// [text, address] of each place that a query names directly, the best one first.
function direct(query) {
  const asked = query.trim().replace(/\s+/g, " ");
  const number = asked.match(NUMBER);
  if (number) {
    const found = bookLookup.numbers[number[2]] || [];
    const kind = (number[1] || "").toLowerCase().replace(".", "");
    const fitting = found.filter(([text]) => text.toLowerCase().startsWith(kind));
    return (fitting.length ? fitting : found).map(([text, ...place]) => ["Go to " + text, address(...place)]);
  }
  const command = asked.startsWith("\\") ? asked.slice(1) : "";
  const name = command && Object.hasOwn(bookLookup.tex, command) ? bookLookup.tex[command] : asked.replace(/\(\)$/, "");
  const places = Object.hasOwn(bookLookup.symbols, name) ? bookLookup.symbols[name] : [];
  return places.map((place) => [name + " in " + bookLookup.pages[place[0]][0], address(...place)]);
}

addEventListener("DOMContentLoaded", () => {
  const results = document.getElementById("search-results");
  const found = direct(new URLSearchParams(location.search).get("q") || "");
  if (!results || !found.length) return;
  const list = document.createElement("ul");
  list.className = "lookup";
  for (const [text, url] of found) {
    const link = document.createElement("a");
    link.href = url;
    link.textContent = text;
    list.appendChild(document.createElement("li")).append(link);
  }
  results.before(list);
});

// No page has categories to choose from.
const NOTHING = "Your search did not match any documents. Please make sure that all words are spelled correctly and that you've selected enough categories.";
Documentation.TRANSLATIONS[NOTHING] = "No page has these words. Numbers such as 3.4, 3.4.1 or Exercise 3.4-1 and symbols such as λ lead to their places.";
