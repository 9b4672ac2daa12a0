// OpenAI's SDK for Node: one conversation of responses, whole, streamed, and over a WebSocket.

import assert from "node:assert/strict";

import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { ResponsesWS } from "openai/resources/responses/ws";
import { z } from "zod";

const client = new OpenAI({ baseURL: "http://localhost:8083/v1", apiKey: "1234", maxRetries: 0 });
const LAST = ["response.completed", "response.incomplete", "response.failed"];
const Fruit = z.object({ colour: z.enum(["red", "green"]) });
const look = {
  type: "function",
  name: "look",
  parameters: {
    type: "object",
    properties: { at: { enum: ["sky", "sea"] } },
    required: ["at"],
    additionalProperties: false,
  },
  strict: true,
};

// Text, thoughts and a structured answer, a call and its result, each behind the one before.
async function converse(ask, store) {
  const told = [];
  const goOn = async (body) => {
    const previous = told.length ? { previous_response_id: told.at(-1).id } : {};
    told.push(await ask({ temperature: 0, store, ...previous, ...body }));
    return told.at(-1);
  };
  await goOn({ model: "tiny", input: "hello", max_output_tokens: 16 });
  const format = zodTextFormat(Fruit, "fruit");
  const thinking = { model: "thinking", reasoning: { max_tokens: 12 }, text: { format } };
  await goOn({ ...thinking, input: "a colour?" });
  const calling = { tools: [look], tool_choice: "required", parallel_tool_calls: false };
  const called = await goOn({ model: "tiny", input: "look!", max_output_tokens: 300, ...calling });
  const { call_id } = called.output[0];
  const result = { type: "function_call_output", call_id, output: "blue" };
  await goOn({ model: "tiny", input: [result], tools: [look], max_output_tokens: 16 });
  return told;
}

function check([text, thought, called, result]) {
  assert.equal(text.status, "incomplete");
  assert.ok(text.output[0].content[0].text);
  assert.deepEqual(thought.output.map((item) => item.type), ["reasoning", "message"]);
  Fruit.parse(JSON.parse(thought.output[1].content[0].text));
  assert.equal(called.output[0].name, "look");
  assert.ok(["sky", "sea"].includes(JSON.parse(called.output[0].arguments).at));
  assert.ok(result.usage.input_tokens > called.usage.input_tokens);
}

check(await converse((body) => client.responses.create(body), true));

check(
  await converse(async (body) => {
    let last;
    for await (const event of await client.responses.create({ ...body, stream: true })) {
      last = event;
    }
    assert.ok(LAST.includes(last.type));
    return last.response;
  }, true),
);

const parsed = await client.responses.parse({
  model: "tiny",
  input: "a colour?",
  text: { format: zodTextFormat(Fruit, "fruit") },
});
Fruit.parse(parsed.output_parsed);

const socket = new ResponsesWS(client);
await new Promise((resolve) => socket.socket.once("open", resolve));
let resolve, reject;
socket.on("event", (event) => LAST.includes(event.type) && resolve(event.response));
socket.on("error", (error) => reject(error));
const ask = (body) =>
  new Promise((...both) => {
    [resolve, reject] = both;
    socket.send({ type: "response.create", ...body });
  });
check(await converse(ask, false));

// What is wrong is told, and the socket stays open.
await assert.rejects(ask({ model: "tiny", input: "x", previous_response_id: "resp_no" }));
await ask({ model: "tiny", input: "x", max_output_tokens: 16 });
socket.close();
console.log("done");
