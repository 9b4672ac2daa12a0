// The list of conversations: which run, which are new, and their names.

import { titleOf } from "./conversations.js";
import { byId, el, iconButton } from "./dom.js";

const DAY_MS = 86_400_000;

export class Sidebar {
  #list = byId("conversations");
  #actions;
  #isRunning;
  #renaming = null; // an id
  #drawn = "";

  /** `actions` has open(id), rename(id, title), remove(id). */
  constructor(isRunning, actions) {
    this.#isRunning = isRunning;
    this.#actions = actions;
  }

  update(conversations, shownId) {
    if (this.#renaming) return; // the field must not go away under the fingers
    // Answers that run change every second; a button that is replaced cannot be clicked.
    const drawn = JSON.stringify(
      conversations.map((one) => [
        one.id,
        titleOf(one),
        one.isUnread,
        this.#isRunning(one.id),
        one.id === shownId,
      ]),
    );
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const focused =
      this.#list.contains(document.activeElement) && document.activeElement.dataset.id;
    const groups = Map.groupBy(conversations, (one) => ageOf(one.updatedAt));
    const items = [...groups].flatMap(([age, members]) => [
      el("li", { class: "age" }, age),
      ...members.map((one) => this.#item(one, one.id === shownId)),
    ]);
    this.#list.replaceChildren(...items);
    byId("no-conversations").hidden = conversations.length > 0;
    if (focused) this.#list.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  }

  #item(conversation, isShown) {
    const { id, isUnread } = conversation;
    const isRunning = this.#isRunning(id);
    const mark = isRunning ? "is-running" : isUnread ? "is-unread" : "";
    const words = isRunning ? "running" : isUnread ? "new answer" : "";
    const open = el(
      "button",
      {
        type: "button",
        class: "open",
        "data-id": id,
        "aria-current": isShown && "true",
        onclick: () => this.#actions.open(id),
        ondblclick: () => this.#rename(conversation, item),
      },
      el("span", { class: "title" }, titleOf(conversation)),
      el(
        "span",
        { class: `mark ${mark}`, title: words },
        el("span", { class: "visually-hidden" }, words),
      ),
    );
    const tools = el(
      "span",
      { class: "tools" },
      iconButton("pencil", "Rename", () => this.#rename(conversation, item)),
      iconButton("trash", "Delete", () => this.#actions.remove(id)),
    );
    const item = el(
      "li",
      { class: isShown ? "conversation is-shown" : "conversation" },
      open,
      tools,
    );
    return item;
  }

  #rename(conversation, item) {
    this.#renaming = conversation.id;
    const value = titleOf(conversation);
    const field = el("input", {
      class: "rename",
      value,
      maxlength: 120,
      "aria-label": "Name of the conversation",
    });
    const finish = (isKept) => {
      if (this.#renaming === null) return; // taking the field away blurs it again
      this.#renaming = null;
      this.#drawn = "";
      this.#actions.rename(conversation.id, isKept ? field.value.trim() : conversation.title);
    };
    field.addEventListener("blur", () => finish(true));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") finish(true);
      if (event.key !== "Escape") return;
      event.stopPropagation(); // here it stops the renaming only
      finish(false);
    });
    item.replaceChildren(field);
    field.select();
  }
}

function ageOf(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return "Today";
  if (time >= today - DAY_MS) return "Yesterday";
  return time >= today - 7 * DAY_MS ? "This week" : "Earlier";
}
