import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "http://localhost:8083/mimik-ai/openai/v1",
  apiKey: "1234",
});

const completion = await client.chat.completions.create({
  model: "smollm2-360m",
  messages: [{ role: "user", content: "What is the capital of France?" }],
});

console.log(completion.choices[0].message.content);
