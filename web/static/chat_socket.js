// Many answers on one channel: each create has its own stream_id and its own listener.

// A socket is closed on a longer message, with all that runs on it.
const MAX_MESSAGE_BYTES = 1 << 20;

export class ChatSocket {
  #channel;
  #streams = new Map(); // stream_id -> {create, listener, isSent}
  #lastNumber = 0;

  constructor(channel) {
    this.#channel = channel;
    channel.addEventListener("open", () => this.#sendWaiting());
    channel.addEventListener("message", ({ detail }) => this.#receive(detail));
    channel.addEventListener("close", () => this.#interrupt());
  }

  /**
   * Ask for an answer. `listener` gets its frames; the last is chat.completion.done, error, or
   * {type: "interrupted"} when the connection broke. Without a connection it waits for one.
   */
  create(body, listener) {
    this.#lastNumber += 1;
    const id = `s${this.#lastNumber}`;
    const create = { type: "chat.completion.create", stream_id: id, events: ["progress"], ...body };
    this.#streams.set(id, { create, listener, isSent: false });
    if (new Blob([JSON.stringify(create)]).size > MAX_MESSAGE_BYTES) {
      const error = {
        message: "It is longer than one message to the server may be.",
        code: "context_length_exceeded",
      };
      queueMicrotask(() => this.#receive({ type: "error", stream_id: id, status: 413, error }));
      return { cancel: () => {} };
    }
    this.#sendWaiting();
    return { cancel: () => this.#cancel(id) };
  }

  #sendWaiting() {
    for (const stream of this.#streams.values()) {
      if (!stream.isSent) stream.isSent = this.#channel.send(stream.create);
    }
  }

  #receive(frame) {
    const stream = this.#streams.get(frame.stream_id);
    if (!stream) {
      if (frame.type === "error") console.warn("the server on this socket:", frame.error.message);
      return;
    }
    if (frame.type === "chat.completion.done" || frame.type === "error") {
      this.#streams.delete(frame.stream_id);
    }
    stream.listener(frame);
  }

  #cancel(id) {
    const stream = this.#streams.get(id);
    if (stream?.isSent) this.#channel.send({ type: "chat.completion.cancel", stream_id: id });
    else if (stream)
      this.#receive({ type: "chat.completion.done", stream_id: id, cancelled: true });
  }

  #interrupt() {
    for (const [id, stream] of [...this.#streams]) {
      if (!stream.isSent) continue;
      this.#streams.delete(id);
      stream.listener({ type: "interrupted" });
    }
  }
}
