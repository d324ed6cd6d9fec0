import { html } from "../vendor/lit.js";
import { define } from "../core/element.js";
import { ago, bytes, size, value } from "../core/format.js";
import { stateMark, table } from "../parts/common.js";
import { Uploads } from "../parts/listing.js";

/** `/supernets`: what can be searched, and the way to upload another. */
class Supernets extends Uploads {
  path = "/v1/supernets";
  title = "Super-networks";
  registers = "Register a super-network";

  none() {
    return html`<div class="card"><div class="empty"><h2>No super-network yet</h2><p class="soft">Upload a fine-tuned one here: an archive of its base model, its adapter and its search space. On the command line:</p><pre>elasticnas supernet add CHECKPOINT</pre></div></div>`;
  }

  table() {
    return table(
      [
        "Super-network",
        "State",
        "Method",
        ["Subnets", "right"],
        ["GFLOPs", "right"],
        ["File", "right"],
      ],
      this.found((each) => [each.method, each.model_type]).map(
        (each) => html`<tr>
        <td><a href="/supernets/${each.id}"><strong>${each.name}</strong></a><br><span class="small soft">${ago(each.created_at)}</span></td>
        <td>${stateMark(each.state)}</td>
        <td>${each.method ?? "–"}<br><span class="small soft">${each.model_type ?? ""}</span></td>
        <td class="right" data-is="Subnets">${each.space ? size(each.space.size) : "–"}</td>
        <td class="right nowrap" data-is="GFLOPs">${each.cost ? `${value("gflops", each.cost.minimal.gflops)} to ${value("gflops", each.cost.maximal.gflops)}` : "–"}</td>
        <td class="right">${bytes(each.size_bytes)}</td></tr>`,
      ),
      { kind: "listing" },
    );
  }

  fields() {
    return html`<label class="field"><span>Archive</span><input name="archive" type="file" required accept=".tar,.gz,.tgz,.zip"><small>.tar, .tar.gz or .zip of a folder with base/, adapter/ and the search space</small></label>
      <label class="field"><span>Name</span><input name="name" maxlength="200" placeholder="the file's, unless you say"></label>`;
  }
}

define("nas-supernets", Supernets);
