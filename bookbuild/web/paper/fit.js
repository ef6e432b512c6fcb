// What is wider than the paper is made smaller, down to its width; code and text wrap by themselves.
"use strict";

addEventListener("load", () => {
  for (const box of document.querySelectorAll(".katex-display, .table-wrap, .text_html, article table")) {
    const inner = box.matches("table") ? box : box.firstElementChild;
    const room = box.matches("table") ? box.parentElement.clientWidth : box.clientWidth;
    const width = box.matches("table") ? box.offsetWidth : box.scrollWidth;
    if (inner && width > room + 1) inner.style.zoom = Math.max(0.5, room / width - 0.005);
  }
});
