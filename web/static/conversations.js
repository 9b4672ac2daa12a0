// The conversations, kept in this browser: one entry of localStorage each.

const PREFIX = "mlx-edge.conversation.";
const TITLE_LENGTH = 48;

/** What a new conversation asks for; null leaves it to the model. */
export const DEFAULT_SAMPLING = { temperature: null, top_p: null, max_tokens: null, seed: null };

/**
 * Events: `change` (its detail is the id), `full` when the browser keeps no more.
 * A message is {role, content}; an answer also has model, state, and stats or error;
 * `isRestarted` if its engine died meanwhile.
 */
export class Conversations extends EventTarget {
  #all = new Map();

  constructor() {
    super();
    for (const name of Object.keys(localStorage)) this.#take(name, localStorage.getItem(name));
    window.addEventListener("storage", ({ key, newValue }) => key && this.#changed(key, newValue));
  }

  /** Those that have begun, the latest first. */
  list() {
    const begun = [...this.#all.values()].filter((one) => one.messages.length > 0);
    return begun.sort((a, b) => b.updatedAt - a.updatedAt);
  }

  get(id) {
    return this.#all.get(id);
  }

  /** A new one; it is kept from its first message on. */
  create(model) {
    const conversation = {
      id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`,
      title: null,
      model,
      system: "",
      sampling: { ...DEFAULT_SAMPLING },
      messages: [],
      draft: "",
      isUnread: false,
      updatedAt: Date.now(),
    };
    this.#all.set(conversation.id, conversation);
    return conversation;
  }

  save(conversation) {
    if (!this.#all.has(conversation.id)) return; // deleted while it was being answered
    if (conversation.messages.length > 0) this.#write(conversation);
    this.#tell(conversation.id);
  }

  remove(id) {
    this.#all.delete(id);
    localStorage.removeItem(PREFIX + id);
    this.#tell(id);
  }

  /** Undo of a removal. */
  restore(conversation) {
    this.#all.set(conversation.id, conversation);
    this.save(conversation);
  }

  #write(conversation) {
    const text = JSON.stringify(conversation, (name, value) =>
      name === "progress" ? undefined : value,
    );
    try {
      localStorage.setItem(PREFIX + conversation.id, text);
    } catch {
      this.dispatchEvent(new CustomEvent("full"));
    }
  }

  /** Another tab wrote or removed one. */
  #changed(name, text) {
    if (!name.startsWith(PREFIX)) return;
    const id = name.slice(PREFIX.length);
    if (this.#all.get(id)?.messages.at(-1)?.state === "writing") return; // by this tab
    if (text === null) this.#all.delete(id);
    else this.#take(name, text);
    this.#tell(id);
  }

  #take(name, text) {
    if (!name.startsWith(PREFIX)) return;
    try {
      const conversation = JSON.parse(text);
      const last = conversation.messages.at(-1);
      // Nobody writes on after a reload.
      if (last?.state === "writing") last.state = "interrupted";
      this.#all.set(conversation.id, conversation);
    } catch {
      console.warn("not a conversation:", name);
    }
  }

  #tell(id) {
    this.dispatchEvent(new CustomEvent("change", { detail: id }));
  }
}

/** What it is called in the list: as it was named, or by how it began. */
export function titleOf(conversation) {
  if (conversation.title) return conversation.title;
  const words = conversation.messages[0]?.content.trim().replace(/\s+/g, " ") ?? "";
  if (words.length <= TITLE_LENGTH) return words || "New chat";
  return `${words.slice(0, TITLE_LENGTH).trimEnd()}…`;
}
