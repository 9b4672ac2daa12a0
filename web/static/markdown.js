// Markdown as models write it, made of DOM nodes: no HTML is parsed, so none can be smuggled in.

import { codeBlock } from "./code.js";
import { el } from "./dom.js";
import { inline } from "./inline.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+|$)/;
const TABLE_RULE = /^ *\|?(?: *:?-+:? *\|)+(?: *:?-+:? *)?$/;
const MAX_DEPTH = 6; // of quotes and lists in each other

const shown = new WeakMap(); // element -> the sources of its children

/** Show a text that may still be growing: the blocks that did not change are not touched. */
export function showMarkdown(element, text) {
  const blocks = blocksOf(text.split("\n"));
  const before = shown.get(element) ?? [];
  let same = 0;
  while (same < blocks.length && before[same] === blocks[same].source) same += 1;
  while (element.childNodes.length > same) element.lastChild.remove();
  element.append(...blocks.slice(same).map((block) => nodeOf(block, 0)));
  shown.set(
    element,
    blocks.map((block) => block.source),
  );
}

/** Lines into blocks, each with its lines and its kind. */
function blocksOf(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const kind = kindOf(lines, at);
    const end = ENDS[kind](lines, at);
    const own = lines.slice(at, end);
    blocks.push({ kind, lines: own, source: own.join("\n") });
    at = end;
  }
  return blocks;
}

function kindOf(lines, at) {
  const line = lines[at];
  if (FENCE.test(line)) return "code";
  if (HEADING.test(line)) return "heading";
  if (RULE.test(line)) return "rule";
  if (QUOTE.test(line)) return "quote";
  if (ITEM.test(line)) return "list";
  if (line.includes("|") && TABLE_RULE.test(lines[at + 1] ?? "")) return "table";
  return "paragraph";
}

/** Where a block that begins at a line ends. */
const ENDS = {
  heading: (_, at) => at + 1,
  rule: (_, at) => at + 1,
  quote: (lines, at) => untilNot(lines, at, (line) => QUOTE.test(line)),
  table: (lines, at) => untilNot(lines, at, (line) => line.includes("|")),
  code(lines, at) {
    const fence = FENCE.exec(lines[at])[1];
    const close = lines.findIndex((line, n) => n > at && isClosing(line, fence));
    return close < 0 ? lines.length : close + 1;
  },
  list(lines, at) {
    const goesOnLazily = (n) => lines[n - 1].trim() && kindOf(lines, n) === "paragraph";
    const isPart = (line, n) =>
      ITEM.test(line) ||
      /^ {2,}\S/.test(line) ||
      (line.trim() ? goesOnLazily(n) : goesOn(lines, n));
    return untilNot(lines, at, isPart);
  },
  paragraph(lines, at) {
    return untilNot(
      lines,
      at,
      (line, n) => line.trim() && (n === at || kindOf(lines, n) === "paragraph"),
    );
  },
};

function untilNot(lines, at, isPart) {
  let end = at + 1;
  while (end < lines.length && isPart(lines[end], end)) end += 1;
  return end;
}

const isClosing = (line, fence) =>
  line.trim().startsWith(fence) && !line.trim().replaceAll(fence[0], "");

/** Whether a list goes on after an empty line. */
function goesOn(lines, at) {
  const next = lines[at + 1] ?? "";
  return ITEM.test(next) || /^ {2,}\S/.test(next);
}

function nodeOf({ kind, lines, source }, depth) {
  if (depth > MAX_DEPTH) return el("p", {}, source);
  switch (kind) {
    case "code":
      return code(lines);
    case "heading": {
      const [, marks, text] = HEADING.exec(lines[0]);
      return el(`h${Math.min(marks.length + 2, 6)}`, {}, ...inline(text));
    }
    case "rule":
      return el("hr");
    case "quote":
      return el(
        "blockquote",
        {},
        ...nested(
          lines.map((line) => line.replace(QUOTE, "")),
          depth,
        ),
      );
    case "list":
      return list(lines, depth);
    case "table":
      return table(lines);
  }
  return el("p", {}, ...inline(lines.map((line) => line.trim()).join("\n")));
}

const nested = (lines, depth) => blocksOf(lines).map((block) => nodeOf(block, depth + 1));

function code(lines) {
  const [, fence, language] = FENCE.exec(lines[0]);
  const isClosed = lines.length > 1 && isClosing(lines.at(-1), fence);
  return codeBlock(language, lines.slice(1, isClosed ? -1 : undefined).join("\n"));
}

function list(lines, depth) {
  const [, margin, first] = ITEM.exec(lines[0]);
  const isOrdered = /\d/.test(first);
  const items = [];
  let indent = 0;
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (match && match[1].length <= margin.length + 1) {
      indent = match[0].length;
      items.push([line.slice(indent)]);
    } else {
      items.at(-1).push(line.slice(Math.min(indent, line.length - line.trimStart().length)));
    }
  }
  const start = isOrdered && parseInt(first, 10) !== 1 ? parseInt(first, 10) : null;
  return el(isOrdered ? "ol" : "ul", { start }, ...items.map((own) => item(own, depth)));
}

/** A short item is its words; a longer one has blocks. */
function item(lines, depth) {
  const blocks = nested(lines, depth);
  const [first, ...rest] = blocks;
  if (first?.tagName === "P") return el("li", {}, ...first.childNodes, ...rest);
  return el("li", {}, ...blocks);
}

function table(lines) {
  const [head, , ...rows] = lines.map(cells);
  const row = (tag, values) =>
    el("tr", {}, ...values.map((value) => el(tag, {}, ...inline(value))));
  const body = el("tbody", {}, ...rows.map((values) => row("td", values)));
  const whole = el("table", {}, el("thead", {}, row("th", head)), body);
  return el("div", { class: "table" }, whole);
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inner.split("|").map((cell) => cell.trim());
}
