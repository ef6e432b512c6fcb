// Small helpers; every page reads fully without them.
"use strict";

// Excerpts in the search results are fetched from the pages, which a browser refuses for local files.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Wide formulas, tables and outputs scroll inside their own box; make such boxes reachable by keyboard.
function reachable() {
  for (const box of document.querySelectorAll(".katex-display, .cell_output .output, .cell_output .text_html, .table-wrap, pre")) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else if (box.tabIndex === 0 && box.tagName !== "PRE") box.removeAttribute("tabindex");
  }
}
addEventListener("load", reachable);
addEventListener("resize", reachable);
addEventListener("toggle", reachable, true);

// A link to something inside a folded solution opens it; printing shows the solutions that are open.
function openTarget() {
  const target = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
  const folded = target && target.closest("details.solution");
  if (folded && !folded.open) {
    folded.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", openTarget);
addEventListener("DOMContentLoaded", openTarget);
