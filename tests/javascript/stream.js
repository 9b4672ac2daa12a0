import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "http://localhost:8083/mimik-ai/openai/v1",
  apiKey: "1234",
});

const stream = await client.chat.completions.create({
  model: "smollm2-360m",
  messages: [{ role: "user", content: "Tell me a short story" }],
  stream: true,
});

for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0].delta.content || "");
}
