import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "http://localhost:8083/mimik-ai/openai/v1",
  apiKey: "1234",
});

const embeddings = await client.embeddings.create({
  model: "minilm",
  input: ["This is an example sentence", "Each sentence is converted"],
});

const floats = await client.embeddings.create({
  model: "minilm",
  input: "This is an example sentence",
  encoding_format: "float",
});

console.log(
  JSON.stringify({
    first: embeddings.data[0].embedding,
    floats: floats.data[0].embedding,
    count: embeddings.data.length,
    dimensions: embeddings.data[1].embedding.length,
  }),
);
