// What a model thinks aloud before it answers: Qwen3 and its like write it between <think> tags.

const OPEN = /^\s*<think>\s*/;
const CLOSE = "</think>";

/** An answer's text in two: what was thought, and what is said. */
export function thoughtOf(content) {
  const open = OPEN.exec(content);
  if (!open) return { thought: "", text: content, isThinking: false };
  const end = content.indexOf(CLOSE);
  if (end < 0) return { thought: content.slice(open[0].length), text: "", isThinking: true };
  const thought = content.slice(open[0].length, end).trim();
  return { thought, text: content.slice(end + CLOSE.length).trimStart(), isThinking: false };
}
