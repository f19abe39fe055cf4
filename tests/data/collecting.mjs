// A run of 70 seconds, asked for by the TypeScript SDK's client with its default limit of 60 seconds a request: the ask
// comes back as running before the limit, and the run is collected by its id. `node collecting.mjs COMMAND...`
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [command, ...args] = process.argv.slice(2);
const client = new Client({ name: "collecting", version: "1" });
await client.connect(new StdioClientTransport({ command, args, env: process.env }));
const began = Date.now();

async function ask(given) {
  const { structuredContent: run, content } = await client.callTool({ name: "moa_ask", arguments: given });
  if (!run) throw new Error(content[0].text);
  console.log(`${Math.round((Date.now() - began) / 1000)} s: ${run.status}`);
  return run;
}

let run = await ask({ question: "What is the answer?", wait_seconds: 45 });
const collects = run.status === "running";
while (run.status === "running") run = await ask({ run_id: run.run_id, wait_seconds: 45 });
await client.close();

const seconds = (Date.now() - began) / 1000;
if (run.status !== "completed" || !collects || seconds < 60) {
  console.error(`Expected a completed run that took more than 60 s, got ${run.status} after ${seconds} s.`);
  process.exit(1);
}
