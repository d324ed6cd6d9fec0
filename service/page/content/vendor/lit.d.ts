import { LitElement as Element } from "lit";

export { html, svg } from "lit";
export { keyed } from "lit/directives/keyed.js";
export { live } from "lit/directives/live.js";
export { repeat } from "lit/directives/repeat.js";

/** Of the type of whatever a template takes, so that it can stand for any of that. */
export const nothing: any;

/** An element has the properties that its `static properties` name, which no type can read. */
export class LitElement extends Element {
  static properties: Record<string, object>;
  [property: string]: any;
}
