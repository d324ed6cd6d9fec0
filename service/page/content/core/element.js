import { LitElement } from "../vendor/lit.js";

/**
 * A custom element that renders into the document itself: one stylesheet, one tree for readers.
 */
export class Part extends LitElement {
  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    /** Aborts what the element fetches and listens to when it leaves the page. */
    this.leaving = new AbortController();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.leaving?.abort();
  }
}

/** Register an element under its name, once. */
export function define(name, element) {
  if (!customElements.get(name)) customElements.define(name, element);
}
