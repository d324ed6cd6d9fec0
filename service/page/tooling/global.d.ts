import type { components } from "./rest.js";

declare global {
  /** The schemas of the REST, by their names. */
  type Rest = components["schemas"];
}
