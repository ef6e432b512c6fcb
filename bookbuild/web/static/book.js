// Small helpers; every page reads fully without them.
"use strict";

{
  // A display formula stays on one line where it fits, down to this share of its size; otherwise it is broken at relations
  // and operators, and only what is then still too wide scrolls (book.css). Its number stands beside it, else below.
  const SMALLEST = 0.78;
  const NUMBER = [4.2, 2.4];  // room for a number, and what is left free opposite to it, in rem, as in book.css

  function fit(boxes) {
    const shown = boxes.filter((box) => box.clientWidth > 0);  // not in a folded solution
    for (const box of shown) {
      box.style.removeProperty("--fit");
      box.dataset.fit = "measured";
    }
    const sizes = shown.map((box) => {
      const pieces = [...box.querySelectorAll(".katex-base")].map((piece) => piece.getBoundingClientRect());
      return {
        room: box.clientWidth - 2,
        whole: Math.max(...pieces.map((piece) => piece.right)) - Math.min(...pieces.map((piece) => piece.left)),
        widest: Math.max(...pieces.map((piece) => piece.width)),
      };
    });
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const [close, beside] = [NUMBER[0] * rem, (NUMBER[0] + NUMBER[1]) * rem];
    shown.forEach((box, i) => {
      const { room, whole, widest } = sizes[i];
      const share = room / whole >= SMALLEST ? room / whole : Math.max(room / widest, SMALLEST);
      box.dataset.number = whole <= room - beside ? "beside" : whole <= room - close ? "close" : "below";
      box.dataset.fit = room / whole >= SMALLEST ? "whole" : "broken";
      if (share < 1) box.style.setProperty("--fit", (Math.floor(share * 1000) / 1000).toString());
    });
  }

  // Wide formulas, tables and outputs scroll inside their own box; make such boxes reachable by keyboard.
  function reach(box) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else if (box.tabIndex === 0 && box.tagName !== "PRE") box.removeAttribute("tabindex");
  }

  const WIDE = ".katex-display, .cell_output .output, .cell_output .text_html, .table-wrap, pre";
  const seen = new WeakMap();  // box -> its width when it was looked at
  const watch = new ResizeObserver((entries) => {
    const boxes = entries.map((entry) => entry.target).filter((box) => seen.get(box) !== box.clientWidth);
    boxes.forEach((box) => seen.set(box, box.clientWidth));
    fit(boxes.filter((box) => box.matches(".katex-display")));
    boxes.forEach(reach);
  });
  addEventListener("DOMContentLoaded", () => {
    const boxes = [...document.querySelectorAll(WIDE)];
    boxes.forEach((box) => watch.observe(box));
    document.fonts.addEventListener("loadingdone", () => {  // letters have other widths now
      fit(boxes.filter((box) => box.matches(".katex-display")));
      boxes.forEach(reach);
    });
  });
}

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
