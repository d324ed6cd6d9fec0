import { html, nothing } from "../vendor/lit.js";
import { define, Part } from "../core/element.js";
import { once } from "../core/api.js";
import { query, setQuery } from "../core/router.js";
import { resolved } from "../core/schema.js";
import { heading, loading, problemNote, problemOf, table } from "../parts/common.js";

const VERBS = ["get", "post", "patch", "put", "delete"];
const DEPTH = 4;

/** `/docs`: the OpenAPI document, to be read without loading anything from elsewhere. */
class Reference extends Part {
  static properties = { document: { state: true }, problem: { state: true } };

  async connectedCallback() {
    super.connectedCallback();
    try {
      this.document = await once("/openapi.json");
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  groups() {
    const sought = (query().get("q") ?? "").toLowerCase();
    const found = new Map();
    for (const [path, item] of Object.entries(this.document.paths)) {
      for (const verb of VERBS.filter((each) => item[each])) {
        const operation = item[verb];
        if (
          !`${verb} ${path} ${operation.summary} ${operation.description}`
            .toLowerCase()
            .includes(sought)
        )
          continue;
        const tag = operation.tags?.[0] ?? "other";
        found.set(tag, [...(found.get(tag) ?? []), { path, verb, operation }]);
      }
    }
    return [...found];
  }

  render() {
    const title = heading("REST", {
      below: html`<p class="soft">Everything that this page does, for every client. The document itself: <a href="/openapi.json">openapi.json</a></p>`,
    });
    if (this.problem) return html`${title}${problemNote(this.problem)}`;
    if (!this.document) return html`${title}${loading()}`;
    return html`${title}<div class="stack">
      <label class="field"><span>Find</span><input type="search" .value=${query().get("q") ?? ""} @input=${(event) => setQuery({ q: event.target.value })}></label>
      ${this.groups().map(([tag, operations]) => html`<section class="card" aria-label=${tag}><h2>${tag}</h2>${operations.map((each) => this.operation(each))}</section>`)}</div>`;
  }

  operation({ path, verb, operation }) {
    const bodies = Object.entries(operation.requestBody?.content ?? {});
    const answers = Object.entries(operation.responses).filter(([status]) => status !== "default");
    return html`<details class="operation"><summary><span class="verb ${verb}">${verb.toUpperCase()}</span><code>${path}</code><span class="soft">${operation.summary}</span></summary>
      <div class="stack">
        ${(operation.description ?? "").split("\n\n").map((each) => html`<p>${each}</p>`)}
        ${
          operation.parameters?.length
            ? html`${table(
                ["Name", "In", "Type", "Meaning"],
                operation.parameters.map(
                  (each) =>
                    html`<tr><td><code>${each.name}</code>${each.required ? " *" : ""}</td><td>${each.in}</td><td class="small">${this.type(each.schema)}</td><td>${each.description ?? ""}</td></tr>`,
                ),
                { caption: "Parameters" },
              )}`
            : nothing
        }
        ${bodies.map(([type, { schema }]) => html`<details><summary>Body: ${type}</summary><pre>${JSON.stringify(this.example(schema), null, 2)}</pre></details>`)}
        ${answers.map(([status, answer]) => html`<details><summary>${status}: ${answer.description}</summary>${Object.entries(answer.content ?? {}).map(([type, { schema }]) => html`<p class="small soft">${type}</p>${schema ? html`<pre>${JSON.stringify(this.example(schema), null, 2)}</pre>` : nothing}`)}</details>`)}
      </div></details>`;
  }

  type(schema) {
    const found = resolved(this.document, schema) ?? {};
    if (found.anyOf)
      return found.anyOf
        .filter((each) => each.type !== "null")
        .map((each) => this.type(each))
        .join(" or ");
    if (found.enum) return found.enum.join(", ");
    return found.type ?? "any";
  }

  /** The shape of a schema: what each field holds, in place of its value. */
  example(schema, depth = 0) {
    const found = resolved(this.document, schema);
    if (!found || depth > DEPTH) return "…";
    if (found.default !== undefined && found.default !== null) return found.default;
    const members = found.anyOf ?? found.oneOf;
    if (members)
      return this.example(
        members.find((each) => each.type !== "null"),
        depth,
      );
    if (found.type === "array") return [this.example(found.items, depth + 1)];
    if (found.properties)
      return Object.fromEntries(
        Object.entries(found.properties).map(([name, each]) => [
          name,
          this.example(each, depth + 1),
        ]),
      );
    if (found.type === "object" && found.additionalProperties)
      return { "…": this.example(found.additionalProperties, depth + 1) };
    return (
      found.const ?? (found.enum ? found.enum.join(" | ") : (found.format ?? found.type ?? "any"))
    );
  }
}

define("nas-reference", Reference);
