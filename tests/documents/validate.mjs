// Says of values whether they are as a document tells: lines of JSON {document, pointer, value} in, for each a line of JSON out, `null` or what
// is wrong. What the document does not name is wrong here, although a client must ignore it: else a field could be left out unnoticed.
//
// node validate.mjs DOCS
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Ajv2020 } from "ajv/dist/2020.js";

// Documents of OpenAPI hold schemas, but are none.
const ajv = new Ajv2020({ strict: false, validateSchema: false, allErrors: true });
const known = new Set();
const compiled = new Map();

/** Takes names that are not told as wrong; not where they depend on which of several kinds it is. */
function close(definition) {
  const depends = definition.oneOf?.some((kind) => kind.properties);
  if (definition.type === "object" && !depends) definition.additionalProperties = false;
}

function schema(document, pointer) {
  if (!known.has(document)) {
    const text = JSON.parse(readFileSync(join(process.argv[2], document), "utf8"));
    for (const definition of Object.values(text.$defs ?? text.components.schemas)) close(definition);
    ajv.addSchema({ ...text, $id: undefined, $schema: undefined }, document);
    known.add(document);
  }
  const place = `${document}#${pointer}`;
  if (!compiled.has(place)) compiled.set(place, ajv.compile({ $ref: place }));
  return compiled.get(place);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { document, pointer, value } = JSON.parse(line);
  const validate = schema(document, pointer);
  console.log(JSON.stringify(validate(value) ? null : ajv.errorsText(validate.errors)));
}
