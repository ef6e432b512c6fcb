// Starts the slides. Keys: arrows or space, S for a second window with the speaker's notes, Esc for all slides.
"use strict";

const asked = new URLSearchParams(location.search);
const speaks = asked.has("speaker");
// The other of the two windows. From the disk they are strangers to each other: all they can do is send messages.
let other = speaks ? window.opener : null;

// A formula that, with its number, is wider than its slide gets smaller letters.
function fit() {
  const width = (element) => element.getBoundingClientRect().width;
  for (const formula of document.querySelectorAll(".formula .katex-display")) {
    const room = width(formula);
    if (!room) continue;
    formula.style.fontSize = "";
    let wanted = 0;
    for (const part of formula.querySelectorAll(".katex-html .katex-base, .katex-gap")) wanted += width(part);
    for (const number of formula.querySelectorAll(".katex-html > .katex-tag")) wanted += 2.3 * width(number);
    if (wanted > room) formula.style.fontSize = `${Math.floor(98 * room / wanted)}%`;
  }
}

function tell() {
  if (other) other.postMessage({ slide: Reveal.getIndices().h }, "*");
}

window.addEventListener("message", (event) => {
  if (!other || event.source !== other || typeof event.data.slide !== "number") return;
  if (event.data.slide !== Reveal.getIndices().h) Reveal.slide(event.data.slide);
});

Reveal.on("ready", () => {
  fit();
  if (!speaks) {
    Reveal.addKeyBinding({ keyCode: 83, key: "S", description: "Speaker's notes" }, () => {
      const address = `${location.pathname}?speaker#/${Reveal.getIndices().h}`;
      other = window.open(address, "speaker", "width=1280,height=720");
    });
  }
});
Reveal.on("slidechanged", () => { fit(); tell(); });
Reveal.on("pdf-ready", fit);
document.fonts.addEventListener("loadingdone", fit);
Reveal.initialize({
  width: 1280,
  height: 720,
  margin: 0.03,
  center: false,
  hash: true,
  slideNumber: "c/t",
  transition: "none",
  backgroundTransition: "none",
  showNotes: speaks ? true : asked.has("notes") ? "separate-page" : false,
});
