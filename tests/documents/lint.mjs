// Reads the documents that this program is told of with the parsers of those who wrote the formats, and tells what they say: one line for
// each finding, and one for each document. Ends with 1 if anything is an error.
//
// node lint.mjs DOCS
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Parser } from "@asyncapi/parser";
import { createConfig, lint } from "@redocly/openapi-core";
import { Ajv2020 } from "ajv/dist/2020.js";

const docs = process.argv[2];
let errors = 0;

/** Tells findings of a document, those that are errors counted. */
function tell(name, findings, summary) {
  for (const { severity, text, place } of findings) {
    console.log(`${name}: ${severity}: ${text} (${place})`);
    if (severity === "error") errors += 1;
  }
  console.log(`${name}: ${findings.filter(({ severity }) => severity === "error").length} errors, ${summary}`);
}

const text = (name) => readFile(join(docs, name), "utf8");

async function asyncapi(name) {
  const { document, diagnostics } = await new Parser().parse(await text(name));
  const severities = ["error", "warning", "info", "hint"];
  const findings = diagnostics.map(({ severity, message, path, code }) => ({ severity: severities[severity], text: `${code}: ${message}`, place: path.join("/") }));
  if (!document) findings.push({ severity: "error", text: "no document came of it", place: "" });
  const [channels, operations, messages] = ["channels", "operations", "messages"].map((part) => document?.[part]().all().length);
  tell(name, findings, `AsyncAPI ${document?.version()}: ${channels} channel, ${operations} operations, ${messages} messages`);
}

async function openapi(name) {
  // A handshake that succeeds ends with 101.
  const config = await createConfig({ extends: ["spec", "recommended"], rules: { "operation-2xx-response": "off" } });
  const problems = await lint({ ref: join(docs, name), config });
  const findings = problems.map(({ severity, message, ruleId, location }) => ({ severity: severity === "warn" ? "warning" : severity, text: `${ruleId}: ${message}`, place: location[0]?.pointer ?? "" }));
  const { openapi, paths } = JSON.parse(await text(name));
  tell(name, findings, `OpenAPI ${openapi}: ${Object.keys(paths).length} paths`);
}

async function schema(name) {
  const findings = [];
  const schema = JSON.parse(await text(name));
  const report = (text, place) => findings.push({ severity: "error", text, place });
  // Also what the specification allows and nobody means: a keyword that is unknown, or does not fit the type beside it.
  const ajv = new Ajv2020({ strict: true, strictTypes: true, strictRequired: false, allErrors: true, allowUnionTypes: true });
  try {
    if (!ajv.validateSchema(schema)) report(ajv.errorsText(), "");
    ajv.compile(schema);
  } catch (error) {
    report(error.message, "");
  }
  tell(name, findings, `JSON Schema ${schema.$schema}: ${Object.keys(schema.$defs).length} definitions`);
}

await asyncapi("asyncapi.json");
await openapi("openapi.json");
await openapi("openapi-admin.json");
await schema("frames.schema.json");
process.exitCode = errors === 0 ? 0 : 1;
