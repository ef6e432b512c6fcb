// TeX in, HTML out: one JSON object a line on standard input, one answer a line on standard output. Ends with its input.
"use strict";
const katex = require("katex");

// KaTeX lets a line end after a relation or an operator. A wide space between two statements is the better place:
// outside of all braces and environments it is marked, and what stands between two of them becomes a clause.
const TOKENS = /\\(?:begin|left|end|right|qquad|quad)(?![a-zA-Z])|\\[a-zA-Z]+|\\.|[{}]/gs;
const MARKED = /\\allowbreak(?=\\q?quad)/g;
const SPACE = /<span class="mspace allowbreak"><\/span><span class="mspace" style="margin-right:([12])em;"><\/span>(?:<span class="mspace"[^>]*><\/span>)*<\/span>(?=<span class="katex-base">)/g;

function marked(latex) {
  let depth = 0;
  return latex.replace(TOKENS, (token) => {
    if (["{", "\\begin", "\\left"].includes(token)) depth += 1;
    if (["}", "\\end", "\\right"].includes(token)) depth -= 1;
    return depth === 0 && /^\\q?quad$/.test(token) ? `\\allowbreak${token}` : token;
  });
}

function clauses(html) {
  const [mathml, open, rest] = html.split(/(<span class="katex-html" aria-hidden="true">)/);
  const end = rest.includes('<span class="katex-tag">') ? rest.lastIndexOf('<span class="katex-tag">') : rest.length - "</span></span></span>".length;
  const inside = rest.slice(0, end);
  const parts = inside.replace(SPACE, '</span></span><span class="katex-gap em$1"> </span><span class="katex-clause">');
  const whole = parts === inside || inside.includes("katex-newline");
  return mathml.replace(MARKED, "") + open + (whole ? inside : `<span class="katex-clause">${parts}</span>`) + rest.slice(end);
}

require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const { latex, display } = JSON.parse(line);
  let answer;
  try {
    const html = katex.renderToString(display ? marked(latex) : latex, { displayMode: display, throwOnError: true });
    answer = { html: display ? clauses(html) : html };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});
