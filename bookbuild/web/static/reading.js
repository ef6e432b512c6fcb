// Which sections a reader has marked as read: kept in this browser alone, nothing before the first mark, nothing sent.
"use strict";
(() => {
  const ROOT = new URL(document.documentElement.dataset.content_root, location.href);
  const NOWHERE = "This browser keeps nothing for this page: the mark lasts until you leave it.";
  let key, sections, kept = true, memory = {};

  // -- the marks: section -> day, in the order in which they were made

  function marks() {
    if (!kept) return memory;
    try {
      const known = JSON.parse(localStorage.getItem(key)) || {};
      return Object.fromEntries(Object.entries(known).filter(([doc, day]) => sections.has(doc) && typeof day === "string"));
    } catch {
      return memory;  // refused, or not what was written here
    }
  }

  function keep(read) {
    memory = read;
    try {
      if (Object.keys(read).length) localStorage.setItem(key, JSON.stringify(read));
      else localStorage.removeItem(key);
      kept = true;
    } catch {
      kept = false;
    }
    show();
  }

  // -- what pages show of them

  const docOf = (link) => decodeURI(link.href.split("#")[0]).replace(decodeURI(ROOT.href), "").replace(/\.html$/, "");
  const day = (text) => new Date(text).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });

  function tick(link, place, read) {
    place.classList.toggle("read", read);
    link.querySelector(".read-word")?.remove();
    if (read) link.insertAdjacentHTML("beforeend", '<span class="visually-hidden read-word"> (read)</span>');
  }

  function next(read) {
    const docs = [...sections.keys()];
    const last = docs.indexOf(Object.keys(read).at(-1));
    return [...docs.slice(last + 1), ...docs.slice(0, last + 1)].find((doc) => !(doc in read));
  }

  function show() {
    const read = marks(), count = Object.keys(read).length, all = `${count} of ${sections.size} sections read`;
    for (const [doc, link] of sections) tick(link, link, doc in read);
    for (const link of document.querySelectorAll("article li > p > a, article li > a")) {
      if (document.querySelector(".read-contents") && sections.has(docOf(link))) tick(link, link.closest("li"), docOf(link) in read);
    }
    const page = document.querySelector(".book-read");
    if (page) {
      const mine = read[page.dataset.section];
      page.classList.toggle("read", Boolean(mine));
      page.querySelector("button").textContent = mine ? "Mark as unread" : "Mark as read";
      page.querySelector("[role=status]").textContent = !kept ? NOWHERE : mine ? `Read on ${day(mine)}. ${all}.` : count ? `${all}.` : "";
    }
    const contents = document.querySelector(".read-contents");
    if (contents) {
      contents.querySelector("[role=status]").textContent = count ? `${all}.` : contents.dataset.none;
      contents.querySelector("button").hidden = !count;
    }
    const start = document.querySelector(".start");
    if (start) {
      const button = start.querySelector(".button"), doc = count ? next(read) : undefined;
      button.dataset.first ??= JSON.stringify([button.getAttribute("href"), button.textContent]);
      const [href, text] = doc ? [sections.get(doc).href, `Continue with ${title(sections.get(doc))}`] : JSON.parse(button.dataset.first);
      button.setAttribute("href", href);
      button.textContent = text;
      start.querySelector(".read-count").textContent = count ? all : "";
    }
  }

  const title = (link) => [...link.children].filter((part) => !part.classList.contains("read-word")).map((part) => part.textContent.trim()).join(" ");

  // -- what a reader does

  addEventListener("DOMContentLoaded", () => {
    const menu = document.querySelector(".book-nav");
    key = `read: ${menu.dataset.book}`;
    sections = new Map([...menu.querySelectorAll("details a")].map((link) => [docOf(link), link]));
    const page = document.querySelector(".book-read");
    page?.querySelector("button").addEventListener("click", () => {
      const { [page.dataset.section]: mine, ...others } = marks();
      keep(mine ? others : { ...others, [page.dataset.section]: new Date().toISOString().slice(0, 10) });
    });
    document.querySelector(".read-contents button")?.addEventListener("click", () => {
      if (confirm("Forget which sections you have read? This cannot be undone.")) keep({});
    });
    addEventListener("storage", show);  // another tab
    addEventListener("pageshow", show);  // back from another page
    show();
  });
})();
