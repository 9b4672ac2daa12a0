// A block of code: its language, a copy button, and a little colour.

import { copyButton } from "./copy.js";
import { el } from "./dom.js";

const KEYWORDS = new Set(
  (
    "and as assert async await break case catch class const continue def del do elif else enum export " +
    "extends except finally fn for from func function if impl import in interface is lambda let match " +
    "new nonlocal not or pass private pub public raise return self static struct super switch this " +
    "throw try type use var void while with yield True False None true false null undefined"
  ).split(" "),
);
const HASH = "#[^\\n]*";
const SLASHES = "//[^\\n]*|/\\*[\\s\\S]*?(?:\\*/|$)";
const COMMENTS = {
  sql: "--[^\\n]*",
  lua: "--[^\\n]*",
  css: SLASHES,
  html: "<!--[\\s\\S]*?-->",
  json: "$^",
};
const WITH_HASH = new Set(
  "python py bash sh shell zsh ruby rb yaml yml toml r perl dockerfile".split(" "),
);
const PLAIN = new Set("text txt plaintext markdown md output console".split(" "));
const MAX_COLOURED = 50_000; // characters

export function codeBlock(language, text) {
  const code = el("code", {}, ...coloured(language.toLowerCase(), text));
  const head = el(
    "header",
    {},
    el("span", {}, language || "code"),
    copyButton(() => text, "Copy code"),
  );
  return el("figure", { class: "code" }, head, el("pre", { tabindex: 0 }, code));
}

/** Comments, strings, numbers and keywords, much alike in most languages. */
function coloured(language, text) {
  if (PLAIN.has(language) || text.length > MAX_COLOURED) return [text];
  const comment = COMMENTS[language] ?? (WITH_HASH.has(language) ? HASH : SLASHES);
  const strings =
    '"""[\\s\\S]*?(?:"""|$)|"(?:[^"\\\\\\n]|\\\\.)*"|\'(?:[^\'\\\\\\n]|\\\\.)*\'|`(?:[^`\\\\]|\\\\.)*`';
  const part = new RegExp(
    `(${comment})|(${strings})|(\\b\\d[\\w.]*\\b)|([A-Za-z_]\\w*)(\\s*\\()?`,
    "g",
  );
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(part)) {
    const [whole, remark, string, figure, word, call] = match;
    const name =
      (remark && "comment") ||
      (string && "string") ||
      (figure && "number") ||
      (KEYWORDS.has(word) && "keyword") ||
      (call && "call");
    if (!name) continue;
    const token = word ?? whole;
    nodes.push(text.slice(at, match.index), el("span", { class: `token-${name}` }, token));
    at = match.index + token.length;
  }
  nodes.push(text.slice(at));
  return nodes;
}
