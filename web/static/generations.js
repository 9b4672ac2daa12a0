// The answers that are being written, one a conversation, shown or not.

import { thoughtOf } from "./thought.js";

const SAVE_INTERVAL_MS = 1000;

/** Events: `progress` for text and stages, `restart`, `finish`; the detail is the conversation. */
export class Generations extends EventTarget {
  #socket;
  #conversations;
  #running = new Map(); // conversation id -> {stream, conversation, savedAt}

  constructor(socket, conversations) {
    super();
    this.#socket = socket;
    this.#conversations = conversations;
    window.addEventListener("pagehide", () => {
      for (const { conversation } of this.#running.values()) conversations.save(conversation);
    });
  }

  isRunning(id) {
    return this.#running.has(id);
  }

  /** Have the last question of a conversation answered. */
  start(conversation) {
    const body = requestOf(conversation);
    const answer = { role: "assistant", content: "", model: conversation.model, state: "writing" };
    conversation.messages.push(answer);
    conversation.updatedAt = Date.now();
    const run = { conversation, savedAt: Date.now(), stream: null };
    this.#running.set(conversation.id, run);
    run.stream = this.#socket.create(body, (frame) => this.#note(run, answer, frame));
    this.#conversations.save(conversation);
  }

  /** Stop it; what was written stays. */
  stop(id) {
    this.#running.get(id)?.stream.cancel();
  }

  #note(run, answer, frame) {
    switch (frame.type) {
      case "progress":
        answer.progress = frame;
        if (frame.stage !== "restarted") break;
        answer.isRestarted = true;
        this.#tell("restart", run.conversation);
        break;
      case "chat.completion.chunk":
        addText(answer, frame.choices[0]?.delta);
        break;
      case "chat.completion.done":
        answer.stats = statsOf(frame);
        return this.#finish(run, answer, frame.cancelled ? "stopped" : "done");
      case "error":
        answer.error = { status: frame.status, ...frame.error };
        return this.#finish(run, answer, "failed");
      case "interrupted":
        return this.#finish(run, answer, "interrupted");
    }
    if (Date.now() - run.savedAt > SAVE_INTERVAL_MS) {
      run.savedAt = Date.now();
      this.#conversations.save(run.conversation);
    }
    this.#tell("progress", run.conversation);
  }

  #finish(run, answer, state) {
    answer.state = state;
    delete answer.progress;
    this.#running.delete(run.conversation.id);
    this.#conversations.save(run.conversation);
    this.#tell("finish", run.conversation);
  }

  #tell(type, conversation) {
    this.dispatchEvent(new CustomEvent(type, { detail: conversation }));
  }
}

function addText(answer, delta) {
  if (!delta?.content && !delta?.reasoning_content) return;
  answer.content += delta.content ?? "";
  if (delta.reasoning_content) answer.thought = (answer.thought ?? "") + delta.reasoning_content;
  delete answer.progress;
}

/** The body of a chat request. Turns that failed without a word are left out. */
function requestOf({ model, system, sampling, messages }) {
  const turns = system.trim() ? [{ role: "system", content: system }] : [];
  for (const message of messages) {
    const { role } = message;
    // Thoughts are not read again.
    const content = role === "assistant" ? thoughtOf(message).text : message.content;
    if (!content) continue;
    const last = turns.at(-1);
    // Many templates want question and answer to alternate.
    if (last?.role === role) last.content += `\n\n${content}`;
    else turns.push({ role, content });
  }
  const set = Object.entries(sampling).filter(([, value]) => value !== null);
  return { model, messages: turns, ...Object.fromEntries(set) };
}

function statsOf({ usage, timings, finish_reason: reason }) {
  return {
    reason,
    numTokens: usage?.completion_tokens ?? null,
    numPromptTokens: usage?.prompt_tokens ?? null,
    numCached: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    firstTokenMs: timings?.ttft_ms ?? null,
    tokensPerSecond: timings?.decode_tokens_per_second ?? null,
  };
}
