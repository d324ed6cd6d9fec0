import { html, nothing } from "../vendor/lit.js";
import { all, get, send } from "../core/api.js";
import { Part } from "../core/element.js";
import { go, query, setQuery } from "../core/router.js";
import { confirmed, problemNote, problemOf } from "./common.js";

/** A view that lists things, the newest first, with a text to find some. */
export class Listing extends Part {
  static properties = { items: { state: true }, problem: { state: true } };

  connectedCallback() {
    super.connectedCallback();
    this.read();
  }

  async read() {
    try {
      this.items = await all(`${this.path}?limit=200`, { signal: this.leaving.signal });
      this.problem = null;
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  /** Those that hold the text of the address in one of their words. */
  found(words) {
    const sought = (query().get("q") ?? "").toLowerCase();
    return this.items.filter((each) =>
      words(each).some((word) =>
        String(word ?? "")
          .toLowerCase()
          .includes(sought),
      ),
    );
  }

  finder() {
    return this.items?.length > 5
      ? html`<label class="field"><span>Find</span><input type="search" .value=${query().get("q") ?? ""} @input=${(event) => setQuery({ q: event.target.value })}></label>`
      : nothing;
  }

  loading() {
    return this.items || this.problem
      ? problemNote(this.problem)
      : html`<p class="soft">Loading…</p>`;
  }
}

/** A view of one thing under its id. */
export class Detail extends Part {
  static properties = { item: { state: true }, problem: { state: true }, refusal: { state: true } };

  connectedCallback() {
    super.connectedCallback();
    this.open();
  }

  async open() {
    try {
      this.item = await get(this.path, this.leaving.signal);
      document.title = `${this.item.name ?? this.item.id} · ElasticNAS`;
      await this.opened();
    } catch (error) {
      this.problem = problemOf(error);
    }
  }

  opened() {}

  /** Delete it, once that is confirmed, and go where the others are. */
  async remove(question, detail, where) {
    if (!(await confirmed(question, detail, "Delete"))) return;
    try {
      await send("DELETE", this.path);
      go(where);
    } catch (error) {
      this.refusal = problemOf(error);
    }
  }
}
