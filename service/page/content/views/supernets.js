import { html, nothing } from "../vendor/lit.js";
import { define } from "../core/element.js";
import { upload } from "../core/api.js";
import { go } from "../core/router.js";
import { ago, bytes, size, value } from "../core/format.js";
import { heading, problemNote, problemOf, progressBar, stateMark } from "../parts/common.js";
import { Listing } from "../parts/listing.js";

/** `/supernets`: what can be searched, and the way to upload another. */
class Supernets extends Listing {
  static properties = { sent: { state: true }, refusal: { state: true } };
  path = "/v1/supernets";

  async send(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    if (!form.get("name")) form.delete("name");
    this.sent = 0;
    this.refusal = null;
    try {
      const supernet = await upload(
        this.path,
        form,
        (share) => (this.sent = share),
        this.leaving.signal,
      );
      go(`/supernets/${supernet.id}`);
    } catch (error) {
      this.refusal = problemOf(error);
    }
    this.sent = undefined;
  }

  render() {
    return html`${heading("Super-networks")}
      <div class="two"><section class="stack" aria-label="Super-networks">${this.loading()}${this.items ? this.body() : nothing}</section>
      <section class="card" aria-label="Register"><h2>Register a super-network</h2>${this.form()}</section></div>`;
  }

  body() {
    if (!this.items.length)
      return html`<div class="card"><div class="empty"><h2>No super-network yet</h2><p class="soft">Upload a fine-tuned one here: an archive of its base model, its adapter and its search space. On the command line:</p><pre>elasticnas supernet add CHECKPOINT</pre></div></div>`;
    return html`${this.finder()}<div class="card"><div class="scroll" tabindex="0" role="group" aria-label="Table"><table class="listing">
      <thead><tr><th scope="col">Super-network</th><th scope="col">State</th><th scope="col">Method</th><th scope="col" class="right">Subnets</th><th scope="col" class="right">GFLOPs</th><th scope="col" class="right">File</th></tr></thead>
      <tbody>${this.found((each) => [
        each.name,
        each.id,
        each.method,
        each.model_type,
        each.notes,
        ...(each.tags ?? []),
      ]).map(
        (each) => html`<tr>
        <td><a href="/supernets/${each.id}"><strong>${each.name}</strong></a><br><span class="small soft">${ago(each.created_at)}</span></td>
        <td>${stateMark(each.state)}</td>
        <td>${each.method ?? "–"}<br><span class="small soft">${each.model_type ?? ""}</span></td>
        <td class="right" data-is="Subnets">${each.space ? size(each.space.size) : "–"}</td>
        <td class="right nowrap" data-is="GFLOPs">${each.cost ? `${value("gflops", each.cost.minimal.gflops)} to ${value("gflops", each.cost.maximal.gflops)}` : "–"}</td>
        <td class="right">${bytes(each.size_bytes)}</td></tr>`,
      )}</tbody></table></div></div>`;
  }

  form() {
    return html`<form class="stack" @submit=${this.send}>
      ${problemNote(this.refusal)}
      <label class="field"><span>Archive</span><input name="archive" type="file" required accept=".tar,.gz,.tgz,.zip"><small>.tar, .tar.gz or .zip of a folder with base/, adapter/ and the search space</small></label>
      <label class="field"><span>Name</span><input name="name" maxlength="200" placeholder="the file's, unless you say"></label>
      ${this.sent === undefined ? html`<button class="primary">Upload</button>` : html`${progressBar(this.sent, "Upload")}<span class="small soft" role="status">${this.sent < 1 ? `${Math.round(this.sent * 100)} % is sent` : "The server stores it…"}</span>`}
    </form>`;
  }
}

define("nas-supernets", Supernets);
