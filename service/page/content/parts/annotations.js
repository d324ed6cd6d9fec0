import { html, nothing } from "../vendor/lit.js";
import { define, Part } from "../core/element.js";
import { send } from "../core/api.js";
import { problemNote, problemOf } from "./common.js";

/** Notes and tags. @param {any} item */
export const notesOf = ({ notes, tags }) =>
  html`${notes ? html`<p class="small">${notes}</p>` : nothing}${tags.map((each) => html`<span class="tag">${each}</span> `)}`;

/** A button whose dialog edits name, notes and tags; says `annotated` with the thing as it then is. */
class Annotate extends Part {
  static properties = { path: {}, item: { attribute: false }, refusal: { state: true } };

  async save(event) {
    event.preventDefault();
    const form = Object.fromEntries(new FormData(event.target));
    const tags = String(form.tags)
      .split(",")
      .map((each) => each.trim());
    const body = {
      name: form.name || null,
      notes: form.notes || null,
      tags: tags.filter(Boolean),
    };
    try {
      const detail = await send("PATCH", this.path, { body });
      this.refusal = null;
      this.dialog.close();
      this.dispatchEvent(new CustomEvent("annotated", { detail }));
    } catch (error) {
      this.refusal = problemOf(error);
    }
  }

  /** @type {HTMLDialogElement} */
  get dialog() {
    return this.querySelector("dialog");
  }

  render() {
    const { name, notes, tags } = this.item;
    return html`<button type="button" @click=${() => this.dialog.showModal()}>Edit</button>
      <dialog aria-labelledby="annotate-title"><form class="stack" @submit=${this.save}>
        <h2 id="annotate-title">Edit name, notes and tags</h2>${problemNote(this.refusal)}
        <label class="field"><span>Name</span><input name="name" maxlength="200" .value=${name ?? ""}></label>
        <label class="field"><span>Notes</span><textarea name="notes" .value=${notes ?? ""}></textarea></label>
        <label class="field"><span>Tags</span><input name="tags" .value=${tags.join(", ")}><small>separated by commas</small></label>
        <div class="actions"><button type="button" @click=${() => this.dialog.close()}>Go back</button><button class="primary">Save</button></div></form></dialog>`;
  }
}

define("nas-annotate", Annotate);
