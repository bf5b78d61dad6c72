/** Runs the conformance cases of clients/conformance/cases.json against a server: run.js --address HOST:PORT --cases FILE */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { fromJson, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import { credentials } from "@grpc/grpc-js";
import { type CallOptions, connect, WorkflowStore, type WorkflowStoreClient, WorkflowStoreError } from "workflowstore";

type JsonObject = { [name: string]: JsonValue };

interface ExpectedError {
  code: string;
  reason?: string;
  metadata?: Record<string, string>;
  /** Field paths of the BadRequest, in any order. */
  fields?: string[];
}

interface Step {
  call: string;
  request: JsonObject;
  response?: JsonObject;
  error?: ExpectedError;
  /** How many messages of a stream to read before it is cancelled; to its end without. */
  messages?: number;
  /** Variables, each with the path of its value in the reply. */
  bind?: Record<string, string>;
}

interface Case {
  name: string;
  steps: Step[];
}

/** What is not as a case wants it. */
class Difference extends Error {}

const { values } = parseArgs({ options: { address: { type: "string" }, cases: { type: "string" } } });
if (values.address === undefined || values.cases === undefined) {
  throw new Error("usage: run.js --address HOST:PORT --cases FILE");
}
const { cases } = JSON.parse(readFileSync(values.cases, "utf8")) as { cases: Case[] };
const client = connect(values.address, credentials.createInsecure());
let failed = 0;
for (const one of cases) {
  try {
    await runCase(client, one);
  } catch (error) {
    failed += 1;
    console.log(`${one.name}: ${error instanceof Difference ? error.message : String(error)}`);
  }
}
client.close();
console.log(`${cases.length - failed} cases passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

async function runCase(client: WorkflowStoreClient, { steps }: Case): Promise<void> {
  const variables = new Map<string, string>([["case", randomUUID()]]);
  for (const [index, written] of steps.entries()) {
    const where = `step ${index + 1} (${written.call})`;
    const step = substituted(written as unknown as JsonValue, variables) as unknown as Step;
    const reply = await replyOf(client, step, where);
    for (const [name, path] of Object.entries(step.bind ?? {})) {
      variables.set(name, textAt(reply, path, where));
    }
  }
}

/** Makes the call of a step and compares. Returns the reply; without one, when the call had to fail, nothing. */
async function replyOf(client: WorkflowStoreClient, step: Step, where: string): Promise<JsonObject> {
  const method = WorkflowStore.methods.find(({ name }) => name === step.call);
  if (method === undefined) {
    throw new Difference(`${where}: there is no such call`);
  }
  const request = fromJson(method.input, step.request);
  const reply: JsonObject = {};
  try {
    for await (const message of messagesOf(client, method.localName, request, step.messages)) {
      merge(reply, toJson(method.output, message, { useProtoFieldName: true }) as JsonObject);
    }
  } catch (error) {
    if (!(error instanceof WorkflowStoreError)) {
      throw error;
    }
    if (step.error === undefined) {
      throw new Difference(`${where}: failed with ${error.code} ${error.reason ?? ""}: ${error.message}`);
    }
    compareError(step.error, error, where);
    return {};
  }
  if (step.error !== undefined) {
    throw new Difference(`${where}: succeeded, expected ${step.error.code}`);
  }
  if (step.response !== undefined) {
    const expected = toJson(method.output, fromJson(method.output, withoutNulls(step.response) as JsonObject), {
      useProtoFieldName: true,
    });
    compareAbsent(step.response, reply, `${where}: reply`);
    compare(expected, reply, `${where}: reply`);
  }
  return reply;
}

type AnyCall = (request: Message, options: CallOptions) => Promise<Message> | AsyncIterable<Message>;

async function* messagesOf(
  client: WorkflowStoreClient,
  name: string,
  request: Message,
  count = Number.POSITIVE_INFINITY,
): AsyncGenerator<Message> {
  const call = (client as unknown as Record<string, AnyCall>)[name] as AnyCall;
  const result = call(request, { deadline: Date.now() + 30_000 });
  if (result instanceof Promise) {
    yield await result;
    return;
  }
  let read = 0;
  for await (const message of result) {
    yield message;
    read += 1;
    if (read >= count) {
      return;
    }
  }
  if (Number.isFinite(count)) {
    throw new Difference(`the stream ended after ${read} messages, expected ${count}`);
  }
}

/** Puts the next message of a stream to those before it. */
function merge(reply: JsonObject, message: JsonObject): void {
  for (const [name, value] of Object.entries(message)) {
    const before = reply[name];
    reply[name] = Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value;
  }
}

/** Throws a Difference where `expected`, as a case has it, has a null and `actual` has something. */
function compareAbsent(expected: JsonValue, actual: JsonValue | undefined, where: string): void {
  if (Array.isArray(expected) && Array.isArray(actual)) {
    for (const [index, value] of expected.entries()) {
      compareAbsent(value, actual[index], `${where}.${index}`);
    }
  } else if (isObject(expected) && isObject(actual)) {
    for (const [name, value] of Object.entries(expected)) {
      if (value === null && actual[name] !== undefined) {
        throw new Difference(`${where}.${name} is ${shown(actual[name])}, expected absent`);
      }
      compareAbsent(value, actual[name], `${where}.${name}`);
    }
  }
}

/** Throws a Difference unless `actual` has everything that `expected` has. */
function compare(expected: JsonValue, actual: JsonValue | undefined, where: string): void {
  if (isObject(expected) && isObject(actual)) {
    for (const [name, value] of Object.entries(expected)) {
      compare(value, actual[name], `${where}.${name}`);
    }
  } else if (Array.isArray(expected) && Array.isArray(actual)) {
    if (expected.length !== actual.length) {
      throw new Difference(`${where} has ${actual.length} elements, expected ${expected.length}: ${shown(actual)}`);
    }
    for (const [index, value] of expected.entries()) {
      compare(value, actual[index], `${where}.${index}`);
    }
  } else if (expected !== actual) {
    throw new Difference(`${where} is ${shown(actual)}, expected ${shown(expected)}`);
  }
}

function compareError(expected: ExpectedError, actual: WorkflowStoreError, where: string): void {
  const check = (what: string, found: unknown, wanted: unknown) => {
    if (!isDeepStrictEqual(found, wanted)) {
      throw new Difference(`${where}: the error's ${what} is ${shown(found)}, expected ${shown(wanted)}`);
    }
  };
  check("code", actual.code, expected.code);
  if (expected.reason !== undefined) {
    check("reason", actual.reason, expected.reason);
  }
  for (const [key, value] of Object.entries(expected.metadata ?? {})) {
    check(key, actual.metadata[key], value ?? undefined);
  }
  if (expected.fields !== undefined) {
    const fields = new Set(actual.violations.map(({ field }) => field));
    check("fields", [...fields].sort(), [...new Set(expected.fields)].sort());
  }
}

/** `value` with the variables in all of its texts replaced. */
function substituted(value: JsonValue, variables: ReadonlyMap<string, string>): JsonValue {
  if (typeof value === "string") {
    return value.replaceAll(/\$\{(?:repeat:(.*?):(\d+)|(\w+))\}/gs, (_, text: string, times: string, name: string) => {
      if (name === undefined) {
        return text.repeat(Number(times));
      }
      const variable = variables.get(name);
      if (variable === undefined) {
        throw new Difference(`nothing is bound to ${name}`);
      }
      return variable;
    });
  }
  return mapped(value, (member) => substituted(member, variables));
}

function withoutNulls(value: JsonValue): JsonValue {
  return mapped(value, (member) => (member === null ? undefined : withoutNulls(member)));
}

/** An array or object with its members replaced; undefined leaves one out. Any other value as it is. */
function mapped(value: JsonValue, member: (value: JsonValue) => JsonValue | undefined): JsonValue {
  if (Array.isArray(value)) {
    return value.map(member).filter((made) => made !== undefined);
  }
  if (!isObject(value)) {
    return value;
  }
  const members = Object.entries(value).map(([name, before]) => [name, member(before)] as const);
  return Object.fromEntries(members.filter(([, made]) => made !== undefined)) as JsonObject;
}

function textAt(reply: JsonObject, path: string, where: string): string {
  let value: JsonValue | undefined = reply;
  for (const part of path.split(".")) {
    value = typeof value === "object" && value !== null ? (value as JsonObject)[part] : undefined;
  }
  if (value === undefined || value === null || typeof value === "object") {
    throw new Difference(`${where}: the reply has nothing to bind at ${path}`);
  }
  return String(value);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  const text = value === undefined ? "absent" : JSON.stringify(value);
  return text.length > 500 ? `${text.slice(0, 500)}…` : text;
}
