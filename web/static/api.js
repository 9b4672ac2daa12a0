// Requests over HTTP, with the key: models, the store. Chats go over the socket.

import { anotherKey, key } from "./key.js";

export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = error?.code ?? null;
  }
}

/** The response, if it is a good one. A key that is refused is asked for, and tried again. */
export async function request(path, { method = "GET", body, accept = "application/json" } = {}) {
  const sent = key();
  const headers = { Authorization: `Bearer ${encodable(sent)}`, Accept: accept };
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new ApiError(0, { message: "The server cannot be reached. Is mlx-edge running?" });
  }
  if (response.status === 401) {
    await anotherKey(sent);
    return request(path, { method, body, accept });
  }
  if (response.ok) return response;
  const failure = await response.json().catch(() => ({}));
  throw new ApiError(response.status, failure.error);
}

export const getJson = async (path, options) => (await request(path, options)).json();

/** The values of a stream of server-sent events; an `error` event is thrown. */
export async function* events(path, options) {
  const response = await request(path, { ...options, accept: "text/event-stream" });
  const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await pieces.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const event = JSON.parse(line.slice(6));
      if (event.error) throw new ApiError(500, event.error);
      yield event;
    }
  }
}

/** A header holds Latin-1 only; a key beyond that is wrong anyway, and the server may say so. */
const encodable = (text) => text.replace(/[^\x20-\xff]/g, "?");
