// OpenAI's Agents SDK for Node with a tool, whole and streamed. Run by `test_agents` beside its
// node_modules; checks what it gets by itself.

import assert from "node:assert/strict";

import { Agent, run, setDefaultOpenAIClient, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";

setTracingDisabled(true);
setDefaultOpenAIClient(new OpenAI({ baseURL: process.argv[2], apiKey: "1234", maxRetries: 0 }));
const asked = [];
const look = tool({
  name: "look",
  description: "Looks somewhere.",
  parameters: z.object({ at: z.string() }),
  execute: async ({ at }) => {
    asked.push(at);
    return `The ${at} is blue.`;
  },
});
const agent = new Agent({
  name: "looker",
  instructions: "Be kind.",
  model: "tiny",
  tools: [look],
  modelSettings: {
    toolChoice: "required",
    temperature: 0,
    maxTokens: 500,
    parallelToolCalls: false,
  },
});
const whole = await run(agent, "look at the sky", { maxTurns: 3 });
const streamed = await run(agent, "look at the sky", { maxTurns: 3, stream: true });
for await (const _ of streamed) {
}
await streamed.completed;
assert.equal(streamed.finalOutput, whole.finalOutput);
assert.equal(asked.length, 2);
console.log("done");
