// celery-node as a producer, driven over JSON lines: written from its README and type declarations.
//
// It offers plain calls, in both protocols, with a task id. Every other option, canvas, remote control and events are
// unsupported. A client of celery-node sends to one queue, so there is one client per queue.
"use strict";

const celery = require("celery-node");
const fs = require("fs");
const readline = require("readline");
const { UnsupportedError, decode, exception } = require("./values.js");

const broker = process.env.CONFORMANCE_BROKER_URL;
const backend = process.env.CONFORMANCE_RESULT_BACKEND;
const settings = JSON.parse(process.env.CONFORMANCE_SETTINGS || "{}");
const clients = new Map();

// Answers go where standard output goes; whatever else prints lands in the log.
const out = 1;
console.log = console.info = console.error;

function clientFor(queue) {
  if (!clients.has(queue)) {
    const client = celery.createClient(broker, backend, queue);
    client.conf.TASK_PROTOCOL = settings.task_protocol || 2;
    clients.set(queue, client);
  }
  return clients.get(queue);
}

const commands = {
  async start() {
    const unknown = Object.keys(settings).filter((name) => name !== "task_protocol");
    if (unknown.length) throw new UnsupportedError(`the producer has no settings ${unknown.join(", ")}`);
    const version = require("celery-node/package.json").version;
    return { pid: process.pid, versions: { "celery-node": version, node: process.versions.node } };
  },

  async send(fields) {
    if (fields.form) throw new UnsupportedError("the producer has no signatures");
    const { queue = "celery", task_id: taskId, ...others } = fields.options || {};
    const unknown = Object.keys(others);
    if (unknown.length) throw new UnsupportedError(`the producer has no option ${unknown.join(", ")}`);
    const client = clientFor(queue);
    await client.isReady();
    const result = client.sendTask(fields.task, fields.args || [], fields.kwargs || {}, taskId);
    return { id: result.taskId, kind: "task", members: [], parents: [] };
  },

  async wait(fields) {
    const result = clientFor("celery").asyncResult(fields.id);
    const answer = { id: fields.id, timed_out: false, value: null, raised: null };
    try {
      answer.value = await result.get(fields.timeout * 1000, 50);
    } catch (error) {
      if (error.message === "TIMEOUT") answer.timed_out = true;
      else answer.raised = exception(error);
    }
    answer.document = { state: await result.status(), result: answer.value };
    return answer;
  },
};

async function answerTo(line) {
  let request;
  try {
    request = JSON.parse(line);
  } catch {
    // The harness writes NaN and Infinity the way Python does, which JavaScript's JSON does not know.
    const seq = Number(/"seq": *(\d+)/.exec(line)[1]);
    return { seq, unsupported: "the producer has no NaN and Infinity" };
  }
  try {
    const command = commands[request.cmd];
    if (!command) throw new UnsupportedError(`the producer has no ${request.cmd}`);
    return { seq: request.seq, ok: await command(decode(request)) };
  } catch (error) {
    if (error instanceof UnsupportedError) return { seq: request.seq, unsupported: error.message };
    return {
      seq: request.seq,
      errored: {
        message: `${error.name}: ${error.message}`,
        exception: exception({ exc_type: error.name, exc_message: [error.message] }).value,
        traceback: "",
      },
    };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    fs.writeSync(out, JSON.stringify(await answerTo(line)) + "\n");
  }
  process.exit(0);
}

main();
