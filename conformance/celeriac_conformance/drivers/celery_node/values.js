// Typed values in JSON lines: what JSON cannot say travels as {"__type": ..., "value": ...}.
"use strict";

class UnsupportedError extends Error {}

/** Undo the encoding of the harness; tuples and sets become arrays, since JavaScript's JSON has nothing closer. */
function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  const kind = value.__type;
  if (kind === undefined) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decode(item)]));
  }
  if (kind === "tuple") return decode(value.value);
  throw new UnsupportedError(kind === "form" ? "the producer has no signatures" : `JSON has no ${kind}`);
}

/** Describe an exception the way the harness reads one. */
function exception(fields) {
  const args = fields.exc_message === undefined ? [] : fields.exc_message;
  return {
    __type: "exception",
    value: {
      type: fields.exc_type || "",
      module: fields.exc_module || "",
      args: Array.isArray(args) ? args : [args],
      text: String(args),
    },
  };
}

module.exports = { UnsupportedError, decode, exception };
