// The Vercel AI SDK: text whole and streamed, an object, a tool that is called and run.

import assert from "node:assert/strict";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";

const provider = createOpenAICompatible({
  name: "local",
  baseURL: "http://localhost:8083/v1",
  apiKey: "1234",
  supportsStructuredOutputs: true,
  includeUsage: true,
});
const settings = { model: provider("tiny"), prompt: "Hello you", temperature: 0, maxRetries: 0 };

const whole = await generateText({ ...settings, maxOutputTokens: 20 });
assert.equal(whole.finishReason, "length");
assert.equal(whole.usage.outputTokens, 20);

const stream = streamText({ ...settings, maxOutputTokens: 20 });
let text = "";
for await (const piece of stream.textStream) text += piece;
assert.equal(text, whole.text);
assert.equal((await stream.usage).inputTokens, whole.usage.inputTokens);

const schema = z.object({ name: z.string().max(5), colour: z.enum(["red", "green"]) });
const { object } = await generateObject({ ...settings, schema });
schema.parse(object);

const weather = tool({
  description: "Tells the weather of a city.",
  inputSchema: z.object({ city: z.enum(["Rome", "Oslo"]) }),
  execute: async ({ city }) => `Sunny in ${city}.`,
});
const called = await generateText({
  ...settings,
  tools: { weather },
  toolChoice: { type: "tool", toolName: "weather" },
  maxOutputTokens: 600,
});
assert.equal(called.finishReason, "tool-calls");
assert.match(called.toolResults[0].output, /^Sunny in (Rome|Oslo)\.$/);
console.log("done");
