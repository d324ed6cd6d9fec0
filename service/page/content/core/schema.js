/** JSON Schema as the server publishes it, and what a form makes of it. */

/** Follow a reference within a document, such as `#/$defs/Kind`. */
export const resolved = (document, schema) =>
  schema?.$ref
    ? schema.$ref
        .split("/")
        .slice(1)
        .reduce((at, name) => at?.[name], document)
    : schema;

/** The fields of an object's schema, but for the name that tells it apart. */
export function fieldsOf(document) {
  return Object.entries(document.properties)
    .filter(([name]) => name !== "name")
    .map(([name, property]) => ({
      name,
      ...kindOf(document, property),
      default: property.default,
      description: property.description ?? "",
    }));
}

/** What kind of input a property takes: number, choice, check, text, or JSON. */
function kindOf(document, property) {
  const members = (property.anyOf ?? [property]).map((each) => resolved(document, each));
  const nullable = members.some((each) => each.type === "null");
  const real = members.filter((each) => each.type !== "null");
  const one = real[0] ?? {};
  if (real.length === 1 && one.enum) return { kind: "choice", options: one.enum, nullable };
  if (real.length === 1 && one.const !== undefined)
    return { kind: "choice", options: [one.const], nullable };
  if (real.length === 1 && (one.type === "integer" || one.type === "number")) {
    return {
      kind: "number",
      step: one.type === "integer" ? 1 : "any",
      min: one.minimum ?? one.exclusiveMinimum,
      max: one.maximum ?? one.exclusiveMaximum,
      nullable,
    };
  }
  if (real.length === 1 && one.type === "boolean") return { kind: "check", nullable };
  if (real.length === 1 && one.type === "string") return { kind: "text", nullable };
  return { kind: "json", nullable };
}
