// One WebSocket to the server: signs in with the key, and comes back when the server does.

import { anotherKey, key } from "./key.js";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;

/** Events: `open`, `message` (its detail is the frame), `close`. */
export class Channel extends EventTarget {
  #path;
  #socket = null;
  #numFailures = 0;
  #timer = 0;
  isOpen = false;

  constructor(path) {
    super();
    this.#path = path;
  }

  /** Connect, and keep connected from now on. */
  start() {
    const again = () => document.visibilityState === "visible" && this.#retryNow();
    window.addEventListener("online", again);
    document.addEventListener("visibilitychange", again);
    this.#connect();
  }

  /** Whether the frame went out; only an open channel sends. */
  send(frame) {
    if (this.isOpen) this.#socket.send(JSON.stringify(frame));
    return this.isOpen;
  }

  #connect() {
    const url = new URL(this.#path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    const used = key();
    let isRefused = false;
    this.#socket = socket;
    // The key travels in the first message: a subprotocol cannot hold every key.
    socket.onopen = () => socket.send(JSON.stringify({ type: "auth", api_key: used }));
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (this.isOpen) return this.#tell("message", frame);
      if (frame.type === "auth.ok") return this.#opened();
      isRefused ||= frame.type === "error" && frame.status === 401;
    };
    socket.onclose = async () => {
      const wasOpen = this.isOpen;
      this.#socket = null;
      this.isOpen = false;
      if (wasOpen) this.#tell("close");
      if (isRefused) await anotherKey(used);
      this.#retryLater();
    };
  }

  #opened() {
    this.isOpen = true;
    this.#numFailures = 0;
    this.#tell("open");
  }

  #retryLater() {
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#numFailures, LONGEST_WAIT_MS);
    this.#numFailures += 1;
    this.#timer = setTimeout(() => this.#retryNow(), wait);
  }

  #retryNow() {
    clearTimeout(this.#timer);
    if (this.#socket === null) this.#connect();
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
