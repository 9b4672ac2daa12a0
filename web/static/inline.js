// What stands inside a line of Markdown: code, emphasis, links.

import { el } from "./dom.js";

// Every repetition is bounded: a text made to be slow is only shown as it is.
const PARTS = [
  /(?<ticks>`{1,8})(?<code>[^`](?:[\s\S]{0,2000}?[^`])?)\k<ticks>(?!`)/,
  /\*\*(?=\S)(?<strong>[\s\S]{0,2000}?\S)\*\*/,
  /~~(?=\S)(?<struck>[^~]{1,1000})~~/,
  /\*(?=[^\s*])(?<stars>[^*]{0,1000}[^\s*])\*/,
  /(?<!\w)_(?=[^\s_])(?<lines>[^_]{0,1000}[^\s_])_(?!\w)/,
  /\[(?<label>[^[\]]{1,500})\]\((?<target>[^\s()]{1,2000})\)/,
  /(?<url>https?:\/\/[^\s<>()"'`]{1,2000}[^\s<>()"'`.,;:!?*_])/,
];
const PART = new RegExp(PARTS.map((part) => part.source).join("|"), "g");
const MAX_DEPTH = 5;

/** The nodes of a text. */
export function inline(text, depth = 0) {
  if (depth > MAX_DEPTH) return [text];
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(PART)) {
    nodes.push(...broken(text.slice(at, match.index)), nodeOf(match, depth + 1));
    at = match.index + match[0].length;
  }
  nodes.push(...broken(text.slice(at)));
  return nodes;
}

function nodeOf(match, depth) {
  const { code, strong, struck, stars, lines, label, target, url } = match.groups;
  if (code) return el("code", {}, code.replace(/^ (.+) $/, "$1"));
  if (strong) return el("strong", {}, ...inline(strong, depth));
  if (struck) return el("s", {}, ...inline(struck, depth));
  if (stars ?? lines) return el("em", {}, ...inline(stars ?? lines, depth));
  if (url) return link(url, [url]);
  return isWeb(target) ? link(target, inline(label, depth)) : match[0];
}

/** Only the web: no javascript:, no data:, no file:. */
const isWeb = (target) => /^https?:\/\//i.test(target) && URL.canParse(target);

function link(href, children) {
  if (!isWeb(href)) return href;
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

/** Text with its line breaks. */
function broken(text) {
  const lines = text.split("\n");
  return lines
    .flatMap((line, n) => (n === 0 ? [line] : [el("br"), line]))
    .filter((one) => one !== "");
}
