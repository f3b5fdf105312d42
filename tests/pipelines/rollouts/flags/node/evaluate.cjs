// Validates a flag file against flagd's schemas and evaluates it for every context, in the JavaScript engine.
const fs = require("node:fs");
const { FlagdCore, MemoryStorage } = require("@openfeature/flagd-core");

const quiet = { error() {}, warn() {}, info() {}, debug() {} };
const { document, contexts } = JSON.parse(fs.readFileSync("input.json", "utf8"));
new MemoryStorage(quiet).setConfigurations(document, true);
console.log("valid");

const core = new FlagdCore(undefined, quiet);
core.setConfigurations(document);
const found = {};
for (const [key, flag] of Object.entries(JSON.parse(document).flags)) {
  const type = typeof Object.values(flag.variants)[0];
  const ask = { boolean: "resolveBooleanEvaluation", string: "resolveStringEvaluation", number: "resolveNumberEvaluation" }[type];
  const fallback = { boolean: false, string: "", number: 0 }[type];
  found[key] = contexts.map((context) => core[ask](key, fallback, { targetingKey: "u", ...context }, quiet).variant);
}
fs.writeFileSync("output.json", JSON.stringify(found));
