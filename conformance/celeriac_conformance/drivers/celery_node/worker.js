// Worker of celery-node with the tasks of the suite that it can provide: from its README and type declarations.
//
// A handler gets the positional arguments, then the keyword arguments as one object; celery-node tells it nothing else
// of its call. The journal needs the id of a run, which is taken from the message on its way to the handler.
"use strict";

const celery = require("celery-node");
const fs = require("fs");
const { AsyncLocalStorage } = require("async_hooks");

const GATE_LIMIT_MS = 60000;
const current = new AsyncLocalStorage();

function option(name, fallback) {
  const position = process.argv.indexOf(name);
  return position < 0 ? fallback : process.argv[position + 1];
}

function note(event, args, kwargs, extra = {}) {
  const { task, id } = current.getStore();
  const entry = { event, task, id, pid: process.pid, time: Date.now() / 1000, request: { args, kwargs }, extra };
  fs.appendFileSync(process.env.CONFORMANCE_JOURNAL, JSON.stringify(entry) + "\n");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function gate([path], kwargs) {
  for (const end = Date.now() + GATE_LIMIT_MS; !fs.existsSync(path); await pause(20)) {
    if (Date.now() > end) throw new Error(`nobody opened ${path}`);
  }
  note("end", [path], kwargs);
  return "through";
}

const builtins = { ValueError: RangeError, TypeError, KeyError: ReferenceError };

const tasks = {
  add: ([x, y]) => x + y,
  mul: ([x, y]) => x * y,
  xsum: ([numbers]) => numbers.reduce((sum, number) => sum + number, 0),
  echo: ([value]) => value,
  echo_all: (args, kwargs) => ({ args, kwargs }),
  keyword_only: (args, { a, b = 2 }) => [a, b],
  measure: ([value]) => value.length,
  make_text: ([length]) => "x".repeat(length),
  ignored: ([value]) => value,
  add_later_value: ([value, extra = 0]) => value + extra,
  collect: (args) => args,
  sleep: ([seconds]) => pause(seconds * 1000).then(() => seconds),
  gate,
  fail: ([kind, ...args]) => {
    throw new (builtins[kind] || Error)(args.join(", "));
  },
};

for (const queue of option("-Q", "celery").split(",")) {
  const worker = celery.createWorker(
    process.env.CONFORMANCE_BROKER_URL,
    process.env.CONFORMANCE_RESULT_BACKEND,
    queue,
  );
  const original = worker.createTaskHandler.bind(worker);
  worker.createTaskHandler = () => {
    const handle = original();
    return (message) => {
      // In protocol 1 name and id are in the body.
      const { task, id } = message.headers && message.headers.task ? message.headers : message.decode();
      return current.run({ task, id }, () => handle(message));
    };
  };
  for (const [name, run] of Object.entries(tasks)) {
    worker.register(name, (...all) => {
      const kwargs = all.pop();
      note("run", all, kwargs, name === "collect" ? { args: all, kwargs } : {});
      return run(all, kwargs);
    });
  }
  worker.start();
}
