// OpenAI's SDK for Node: a tool by its helpers, whole and streamed; an answer that follows a schema.

import assert from "node:assert/strict";

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: "http://localhost:8083/v1", apiKey: "1234", maxRetries: 0 });
const settings = {
  model: "tiny",
  messages: [{ role: "user", content: "How is the weather?" }],
  temperature: 0,
};
const city = { enum: ["Rome", "Oslo"] };
const parameters = { type: "object", properties: { city }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const calling = { ...settings, tools, tool_choice: "required", parallel_tool_calls: false };

const whole = await client.chat.completions.create(calling);
const [call] = whole.choices[0].message.tool_calls;
assert.equal(whole.choices[0].finish_reason, "tool_calls");
assert.equal(call.function.name, "weather");
assert.ok(city.enum.includes(JSON.parse(call.function.arguments).city));

const streamed = await client.chat.completions.stream(calling).finalChatCompletion();
const [again] = streamed.choices[0].message.tool_calls;
assert.equal(again.function.arguments, call.function.arguments);

const result = { role: "tool", tool_call_id: call.id, content: "Sunny." };
const messages = [...settings.messages, whole.choices[0].message, result];
await client.chat.completions.create({ ...settings, messages, tools, max_tokens: 5 });

const Fruit = z.object({ name: z.string().max(5), colour: z.enum(["red", "green"]) });
const response_format = zodResponseFormat(Fruit, "fruit");
const parsed = await client.chat.completions.parse({ ...settings, response_format });
Fruit.parse(parsed.choices[0].message.parsed);
console.log("done");
