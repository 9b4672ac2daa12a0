// The Vercel AI SDK over responses: it sends references to items that it was told before.

import assert from "node:assert/strict";

import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const openai = createOpenAI({ baseURL: "http://localhost:8083/v1", apiKey: "1234" });
const model = openai.responses("tiny");
const settings = { model, maxRetries: 0, temperature: 0, maxOutputTokens: 300 };

const look = tool({
  description: "Looks somewhere.",
  inputSchema: jsonSchema({
    type: "object",
    properties: { at: { enum: ["sky", "sea"] } },
    required: ["at"],
    additionalProperties: false,
  }),
  execute: async ({ at }) => `The ${at} is blue.`,
});
const called = await generateText({
  ...settings,
  prompt: "look!",
  tools: { look },
  toolChoice: "required",
  stopWhen: stepCountIs(2),
  providerOptions: { openai: { parallelToolCalls: false } },
});
assert.ok(called.steps[0].toolCalls.length > 0);
assert.equal(called.steps.length, 2);

const streamed = streamText({ ...settings, maxOutputTokens: 16, prompt: "hello" });
let text = "";
for await (const piece of streamed.textStream) text += piece;
assert.ok(text);

const messages = [{ role: "user", content: "hello" }, ...(await streamed.response).messages];
const more = await generateText({
  ...settings,
  maxOutputTokens: 16,
  messages: [...messages, { role: "user", content: "and you?" }],
});
assert.ok(more.usage.inputTokens > 16);

const schema = z.object({ colour: z.enum(["red", "green"]) });
const output = Output.object({ schema });
const { output: fruit } = await generateText({ ...settings, prompt: "a colour?", output });
schema.parse(fruit);
console.log("done");
