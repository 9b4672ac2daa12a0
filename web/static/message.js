// One message of a conversation on the page: a question, or an answer with how it came about.

import { copyButton } from "./copy.js";
import { bar, el, icon, iconButton, setBar } from "./dom.js";
import { adviceOn } from "./advice.js";
import { showMarkdown } from "./markdown.js";
import { thoughtOf } from "./thought.js";
import { count, duration, percent, plural } from "./units.js";

export const RESTARTED = "The engine stopped and was started again; the answer goes on where it was.";

/** A question. `onEdit` is offered on the last one. */
export class QuestionView {
  constructor(message, actions) {
    this.message = message;
    this.#edit = iconButton("pencil", "Edit and send again", () => actions.edit());
    const tools = el(
      "div",
      { class: "tools" },
      this.#edit,
      copyButton(() => message.content, "Copy question"),
    );
    const bubble = el("div", { class: "bubble", dir: "auto" }, message.content);
    this.element = el(
      "li",
      { class: "question" },
      el("span", { class: "visually-hidden" }, "You: "),
      bubble,
      tools,
    );
  }

  #edit;

  update({ isLastQuestion, isRunning }) {
    this.#edit.hidden = !isLastQuestion || isRunning;
  }
}

/** An answer; it grows while it is being written. */
export class AnswerView {
  #thoughtName = el("summary");
  #thoughtText = el("div", { class: "prose", dir: "auto" });
  #thought = el("details", { class: "thought" }, this.#thoughtName, this.#thoughtText);
  #text = el("div", { class: "prose", dir: "auto" });
  #stage = el("div", { class: "stage", hidden: true });
  #stageWords = el("span");
  #stageBar = bar(null, "Progress");
  #restarted = el("p", { class: "restarted", role: "note", hidden: true }, RESTARTED);
  #end = el("div", { class: "end" });
  #shownState = null;
  #actions;

  constructor(message, actions) {
    this.message = message;
    this.#actions = actions;
    this.#stage.append(el("span", { class: "pulse" }), this.#stageWords, this.#stageBar);
    const who = el("span", { class: "visually-hidden" }, `${message.model}: `);
    this.element = el(
      "li",
      { class: "answer" },
      who,
      this.#thought,
      this.#text,
      this.#stage,
      this.#restarted,
      this.#end,
    );
  }

  update({ isLast }) {
    const { content, state, progress, isRestarted } = this.message;
    const isWriting = state === "writing";
    const { thought, text, isThinking } = thoughtOf(this.message);
    const isBegun = content !== "" || thought !== "";
    this.#thought.hidden = !thought;
    this.#thoughtName.textContent = isThinking && isWriting ? "Thinking…" : "Thoughts";
    showMarkdown(this.#thoughtText, thought);
    showMarkdown(this.#text, text);
    this.element.classList.toggle("is-writing", isWriting && isBegun && !progress);
    this.#stage.hidden = !isWriting || (isBegun && !progress);
    if (!this.#stage.hidden) this.#showStage(progress);
    this.#restarted.hidden = !isRestarted || state === "failed"; // which says more
    const shown = `${state} ${isLast}`;
    if (shown !== this.#shownState) this.#showEnd(isLast);
    this.#shownState = shown;
  }

  #showStage(progress) {
    const { words, fraction } = stageOf(progress, this.message.model);
    this.#stageWords.textContent = words;
    this.#stageBar.hidden = fraction === undefined;
    setBar(this.#stageBar, fraction);
  }

  #showEnd(isLast) {
    const { content, state, stats } = this.message;
    if (state === "writing") return this.#end.replaceChildren();
    const tools = el("div", { class: "tools" });
    if (content) tools.append(copyButton(() => thoughtOf(this.message).text, "Copy answer"));
    if (isLast && state === "done")
      tools.append(iconButton("again", "Answer again", () => this.#actions.again()));
    if (stats) tools.append(statsLine(this.message));
    this.#end.replaceChildren(
      ...[this.#trouble(isLast), tools.children.length > 0 && tools].filter(Boolean),
    );
  }

  /** What went wrong, and what can be done about it. */
  #trouble(isLast) {
    const { state, error, stats } = this.message;
    const again = isLast && tryAgain(this.#actions);
    if (state === "failed") {
      const advice = adviceOn(error, this.#actions);
      const words = el("div", {}, el("strong", {}, advice.title), el("p", {}, error.message));
      const buttons = el("div", { class: "buttons" }, again, isLast && advice.button);
      return el("div", { class: "trouble is-error", role: "alert" }, icon("alert"), words, buttons);
    }
    if (state === "interrupted")
      return note("The connection broke before the answer was complete.", again);
    if (state === "stopped") return note("You stopped this answer.", again);
    if (stats?.reason === "length") return note("Cut off: it reached the limit of tokens.", null);
    return null;
  }
}

function tryAgain(actions) {
  return el(
    "button",
    { type: "button", class: "button", onclick: () => actions.again() },
    icon("again"),
    "Try again",
  );
}

const note = (words, button) => el("div", { class: "trouble" }, el("span", {}, words), button);

/** A stage in words, and how far it is: undefined has no bar, null one without an end. */
function stageOf(progress, model) {
  switch (progress?.stage) {
    case "queued":
      if (!progress.position) return { words: "Waiting for its turn" };
      return { words: `Waiting: ${plural(progress.position, "request")} in front` };
    case "loading":
      return {
        words: `Loading ${model} · ${percent(progress.progress)}`,
        fraction: progress.progress,
      };
    case "prefill": {
      const cached = progress.cached ? ` · ${count(progress.cached)} cached` : "";
      const words = `Reading · ${count(progress.done)} of ${plural(progress.total, "token")}${cached}`;
      return { words, fraction: progress.progress };
    }
    case "restarted":
      return { words: "Starting the engine again" };
  }
  return { words: "Sending" };
}

function statsLine({ model, stats }) {
  const { tokensPerSecond, firstTokenMs, numTokens, numCached } = stats;
  const parts = [];
  if (tokensPerSecond) parts.push(`${count(tokensPerSecond)} tokens/s`);
  if (firstTokenMs != null) parts.push(`first after ${duration(firstTokenMs)}`);
  if (numTokens != null) parts.push(plural(numTokens, "token"));
  if (numCached) parts.push(`${count(numCached)} cached`);
  const words = parts.join(" · ");
  return el("span", { class: "stats" }, el("span", { class: "model-id" }, `${model} · `), words);
}
