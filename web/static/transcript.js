// The conversation that is shown. Drawn at most once a frame, however fast the tokens come.

import { byId } from "./dom.js";
import { AnswerView, QuestionView } from "./message.js";

const NEAR_PX = 64; // so close to the end counts as at the end

export class Transcript {
  #list = byId("transcript");
  #scroll = byId("scroll");
  #toEnd = byId("to-end");
  #views = [];
  #conversation = null;
  #isRunning;
  #actions;
  #frame = 0;
  #follows = true; // the reader is at the end, and is kept there

  constructor(isRunning, actions) {
    this.#isRunning = isRunning;
    this.#actions = actions;
    this.#scroll.addEventListener("scroll", () => this.#noteScroll(), { passive: true });
    this.#toEnd.addEventListener("click", () => this.follow());
    new ResizeObserver(() => this.#follows && this.#scrollToEnd()).observe(this.#scroll);
  }

  /** Another conversation, from its end. */
  show(conversation) {
    this.#conversation = conversation;
    this.#views = [];
    this.#list.replaceChildren();
    this.follow();
    this.#draw();
  }

  /** It changed. */
  update() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  follow() {
    this.#follows = true;
    this.update();
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { messages, id } = this.#conversation;
    const isRunning = this.#isRunning(id);
    const lastQuestion = messages.findLastIndex((message) => message.role === "user");
    messages.forEach((message, at) => {
      if (this.#views[at]?.message !== message) this.#cut(at);
      const isNew = !this.#views[at];
      this.#views[at] ??= this.#add(message);
      const isLast = at === messages.length - 1;
      const mayChange = isNew || at >= messages.length - 4;
      if (mayChange)
        this.#views[at].update({ isLast, isLastQuestion: at === lastQuestion, isRunning });
    });
    this.#cut(messages.length);
    this.#list.setAttribute("aria-busy", String(isRunning));
    if (this.#follows) this.#scrollToEnd();
    this.#noteScroll();
  }

  #add(message) {
    const View = message.role === "user" ? QuestionView : AnswerView;
    const view = new View(message, this.#actions);
    this.#list.append(view.element);
    return view;
  }

  /** Forget the views from here on. */
  #cut(from) {
    for (const view of this.#views.splice(from)) view.element.remove();
  }

  #scrollToEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #noteScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.#toEnd.hidden = this.#follows;
  }
}
