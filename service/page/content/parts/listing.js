import { html, nothing } from "../vendor/lit.js";
import { all, get, send, upload } from "../core/api.js";
import { Part } from "../core/element.js";
import { go, query, setQuery } from "../core/router.js";
import { confirmed, heading, loading, problemNote, problemOf, progressBar } from "./common.js";

/** A view that lists things, the newest first, with a text to find some. */
export class Listing extends Part {
  /** @type {Record<string, object>} */
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
      [each.name, each.id, each.notes, ...(each.tags ?? []), ...words(each)].some((word) =>
        String(word ?? "")
          .toLowerCase()
          .includes(sought),
      ),
    );
  }

  finder() {
    return this.items.length > 5 || query().has("q")
      ? html`<label class="field"><span>Find</span><input type="search" placeholder="Name, id, note or tag" .value=${query().get("q") ?? ""} @input=${(event) => setQuery({ q: event.target.value })}></label>`
      : nothing;
  }

  render() {
    return html`${heading(this.title)}${problemNote(this.problem)}${this.items ? this.body() : loading(this.problem)}`;
  }
}

/** A listing with the form of an upload beside it. */
export class Uploads extends Listing {
  /** @type {Record<string, object>} */
  static properties = { sent: { state: true }, refusal: { state: true } };

  async send(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    for (const [name, text] of [...form]) if (text === "") form.delete(name);
    this.sent = 0;
    this.refusal = null;
    try {
      const onProgress = (share) => (this.sent = share);
      const made = await upload(this.path, form, onProgress, this.leaving.signal);
      go(`${location.pathname}/${made.id}`);
    } catch (error) {
      this.refusal = problemOf(error);
    }
    this.sent = undefined;
  }

  body() {
    return html`<div class="two"><section class="stack" aria-label=${this.title}>${this.items.length ? html`${this.finder()}<div class="card">${this.table()}</div>` : this.none()}</section>
      <section class="card" aria-label="Register"><h2>${this.registers}</h2><form class="stack" @submit=${this.send}>
        ${problemNote(this.refusal)}${this.fields()}
        ${this.sent === undefined ? html`<button class="primary">Upload</button>` : html`${progressBar(this.sent, "Upload")}<span class="small soft" role="status">${this.sent < 1 ? `${Math.round(this.sent * 100)} % is sent` : "The server reads it…"}</span>`}
      </form></section></div>`;
  }
}

/** A view of one thing under its id. */
export class Detail extends Part {
  /** @type {Record<string, object>} */
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

  render() {
    if (this.item && !this.problem) return this.body();
    return html`${heading(this.title)}${problemNote(this.problem)}${loading(this.problem)}`;
  }
}
