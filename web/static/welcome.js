// What is shown before the first question: what to ask, and how to ask from a program.

import { codeBlock } from "./code.js";
import { byId, el } from "./dom.js";
import { isDefaultKey, key } from "./key.js";

// The built-in Pocket answers these well.
const PROMPTS = [
  ["Tell a story", "Tell me a story about a fox."],
  ["Write code", "How do I check if a number is prime?"],
  ["Ask a fact", "What is the capital of Japan?"],
  ["Meet the model", "What can you do?"],
];

const SNIPPETS = {
  Python: (base, apiKey, model) => [
    "python",
    `from openai import OpenAI

client = OpenAI(base_url="${base}/v1", api_key="${apiKey}")
stream = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "Who are you?"}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="")`,
  ],
  Browser: (base, apiKey, model) => [
    "javascript",
    `const url = "${base.replace("http", "ws")}/v1/chat/completions";
const socket = new WebSocket(url, ["mlx-edge", "openai-insecure-api-key.${apiKey}"]);
const messages = [{ role: "user", content: "Who are you?" }];
socket.onopen = () => socket.send(JSON.stringify(
  { type: "chat.completion.create", stream_id: "1", model: "${model}", messages }));
socket.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  if (frame.type === "chat.completion.chunk")
    document.body.append(frame.choices[0].delta.content ?? "");
};`,
  ],
  curl: (base, apiKey, model) => [
    "bash",
    `curl -N ${base}/v1/chat/completions \\
  -H "Authorization: Bearer ${apiKey}" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "${model}",
    "stream": true,
    "messages": [{"role": "user", "content": "Who are you?"}]
  }'`,
  ],
};

export class Welcome {
  #shown = "Python";
  #model = "pocket";

  /** `ask(text)` sends an example. */
  constructor(ask) {
    const cards = PROMPTS.map(([title, prompt]) =>
      el(
        "button",
        { type: "button", class: "card", onclick: () => ask(prompt) },
        el("strong", {}, title),
        el("span", {}, prompt),
      ),
    );
    byId("prompts").append(...cards);
    const tabs = Object.keys(SNIPPETS).map((name) =>
      el("button", { type: "button", "data-snippet": name, onclick: () => this.#show(name) }, name),
    );
    byId("snippet-tabs").append(...tabs);
    byId("from-code").addEventListener("toggle", () => this.#show(this.#shown));
  }

  /** The snippets name the model that is chosen. */
  setModel(id) {
    if (!id || id === this.#model) return;
    this.#model = id;
    this.#show(this.#shown);
  }

  #show(name) {
    this.#shown = name;
    for (const tab of byId("snippet-tabs").children) {
      tab.setAttribute("aria-pressed", String(tab.dataset.snippet === name));
    }
    const apiKey = isDefaultKey() ? key() : "YOUR_KEY";
    const [language, text] = SNIPPETS[name](location.origin, apiKey, this.#model);
    byId("snippet").replaceChildren(codeBlock(language, text));
  }
}
