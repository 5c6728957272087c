// An OpenAI-compatible streaming server on llama.cpp, which node-llama-cpp
// carries as a library. It takes the arguments of llama.cpp's own server that
// are worth tuning on a CPU, and refuses others as that does. Every request is
// computed in full: no prompt is kept from one to the next.
import http from "node:http";
import { parseArgs } from "node:util";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const text = (short, value) => ({ type: "string", ...(short && { short }), ...(value && { default: value }) });
let args;
try {
  args = parseArgs({
    options: {
      model: text("m"), alias: text("a"), host: text("", "127.0.0.1"), port: text("", "8080"),
      threads: text("t"), parallel: text("", "1"), "ctx-size": text("c", "4096"),
      "batch-size": text("b", "2048"), "ubatch-size": text("", "512"), "flash-attn": text("", "auto"),
      "cache-type-k": text("", "f16"), "cache-type-v": text("", "f16"), metrics: { type: "boolean" },
    },
  }).values;
  if (!args.model) throw new Error("--model is missing");
} catch (error) {
  console.error(`error: invalid argument: ${error.message}`);
  process.exit(1);
}
const number = (name) => {
  const n = Number(args[name]);
  if (Number.isInteger(n) && n > 0) return n;
  console.error(`error: invalid argument: --${name} ${args[name]}`);
  process.exit(1);
};

const slots = number("parallel");
const perSlot = Math.floor(number("ctx-size") / slots);
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.error, progressLogs: false });
const model = await llama.loadModel({ modelPath: args.model });
const context = await model.createContext({
  sequences: slots,
  contextSize: perSlot,
  // node-llama-cpp makes one physical batch of a logical one.
  batchSize: Math.min(number("batch-size"), number("ubatch-size")),
  flashAttention: { on: true, off: false, auto: "auto" }[args["flash-attn"]] ?? "auto",
  experimentalKvCacheKeyType: args["cache-type-k"].toUpperCase(),
  experimentalKvCacheValueType: args["cache-type-v"].toUpperCase(),
  threads: args.threads && args.threads !== "-1" ? number("threads") : undefined,
});

const name = args.alias ?? args.model;
const free = Array.from({ length: slots }, () => context.getSequence());
const waiting = [];
const count = { prompt: 0, predicted: 0, running: 0 };

const acquire = () => free.length ? Promise.resolve(free.pop()) : new Promise((resolve) => waiting.push(resolve));
const release = (sequence) => waiting.length ? waiting.shift()(sequence) : free.push(sequence);

const json = (response, status, body) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
const refuse = (response, status, message) => json(response, status, { error: { message, code: status } });

// prompt is the text that the model continues.
const prompt = (body, chat) => chat
  ? body.messages.map((m) => ` ${m.role}: ${typeof m.content === "string" ? m.content : m.content.map((p) => p.text).join("")}\n`).join("") + " assistant:"
  : String(body.prompt);

async function complete(body, response, chat) {
  const tokens = model.tokenize(prompt(body, chat));
  const limit = body.max_tokens ?? body.max_completion_tokens ?? (chat ? perSlot - tokens.length : 16);
  if (tokens.length + limit > perSlot || limit < 1) {
    return refuse(response, 400, `the request exceeds the available context size of ${perSlot} tokens (${tokens.length} in the prompt, ${limit} in the reply)`);
  }
  const base = { id: "llama-stand", object: chat ? "chat.completion" + (body.stream ? ".chunk" : "") : "text_completion", created: 0, model: name };
  const piece = (content) => chat ? { delta: { content } } : { text: content };
  const send = (event) => response.write(`data: ${JSON.stringify({ ...base, ...event })}\n\n`);
  let gone = false;
  response.on("close", () => { gone = true; });
  const sequence = await acquire();
  count.running++;
  let said = "", n = 0, finish = "length";
  try {
    await sequence.clearHistory();
    if (body.stream) response.writeHead(200, { "content-type": "text/event-stream" });
    for await (const token of sequence.evaluate(tokens, { temperature: body.temperature ?? 0, seed: body.seed, yieldEogToken: true })) {
      if (gone) return;
      if (n === 0) count.prompt += tokens.length;
      n++;
      count.predicted++;
      const content = model.detokenize([token], true);
      if (body.stream) send({ choices: [{ index: 0, ...piece(content), finish_reason: null }] });
      else said += content;
      if (!body.ignore_eos && model.isEogToken(token)) finish = "stop";
      if (n === limit || finish === "stop") break;
    }
  } finally {
    count.running--;
    release(sequence);
  }
  const usage = { prompt_tokens: tokens.length, completion_tokens: n, total_tokens: tokens.length + n };
  if (!body.stream) {
    const choice = chat ? { message: { role: "assistant", content: said } } : { text: said };
    return json(response, 200, { ...base, choices: [{ index: 0, ...choice, finish_reason: finish }], usage });
  }
  send({ choices: [{ index: 0, ...piece(""), finish_reason: finish }] });
  if (body.stream_options?.include_usage) send({ choices: [], usage });
  response.end("data: [DONE]\n\n");
}

const gets = {
  "/health": (response) => json(response, 200, { status: "ok" }),
  "/v1/models": (response) => json(response, 200, { object: "list", data: [{ id: name, object: "model", owned_by: "llamacpp", max_model_len: perSlot }] }),
  "/props": (response) => json(response, 200, { total_slots: slots, model_path: args.model, default_generation_settings: { n_ctx: perSlot } }),
  "/metrics": (response) => response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end([
    `# TYPE llamacpp:prompt_tokens_total counter\nllamacpp:prompt_tokens_total ${count.prompt}`,
    `# TYPE llamacpp:tokens_predicted_total counter\nllamacpp:tokens_predicted_total ${count.predicted}`,
    `# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing ${count.running}`,
    `# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred ${waiting.length}\n`,
  ].join("\n")),
};

const server = http.createServer(async (request, response) => {
  const path = new URL(request.url, "http://host").pathname;
  const chat = path === "/v1/chat/completions";
  if (request.method === "GET" && gets[path]) return gets[path](response);
  if (request.method !== "POST" || !(chat || path === "/v1/completions")) return refuse(response, 404, "there is nothing at that path");
  try {
    const parts = [];
    for await (const part of request) parts.push(part);
    await complete(JSON.parse(Buffer.concat(parts)), response, chat);
  } catch (error) {
    console.error(error);
    if (response.headersSent) response.destroy();
    else refuse(response, error instanceof SyntaxError ? 400 : 500, error.message);
  }
});
server.on("error", (error) => {
  console.error(`error: couldn't bind to ${args.host}:${args.port}: ${error.message}`);
  process.exit(1);
});
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    server.closeAllConnections();
    server.close(() => process.exit(0));
  });
}
server.listen(number("port"), args.host, () => console.log(`server is listening on http://${args.host}:${args.port}, ${slots} slots of ${perSlot} tokens`));
