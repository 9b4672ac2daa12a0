// What a model thinks before it answers: the server tells it apart.

const OPEN = /^\s*<think>\s*/;
const CLOSE = "</think>";

/**
 * An answer in two: what was thought, and what is said. Answers that were kept before the server
 * told both apart, and those of models whose template does not say how they think, have tags.
 */
export function thoughtOf({ thought: told, content }) {
  if (told) return { thought: told, text: content, isThinking: content === "" };
  const open = OPEN.exec(content);
  if (!open) return { thought: "", text: content, isThinking: false };
  const end = content.indexOf(CLOSE);
  if (end < 0) return { thought: content.slice(open[0].length), text: "", isThinking: true };
  const thought = content.slice(open[0].length, end).trim();
  return { thought, text: content.slice(end + CLOSE.length).trimStart(), isThinking: false };
}
