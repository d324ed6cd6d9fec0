import { html, nothing, svg } from "../vendor/lit.js";

const SIGNS = {
  queued: svg`<circle cx="6" cy="6" r="4.5" fill="none" stroke="currentColor" stroke-width="1.6"/>`,
  running: svg`<path d="M3 1.5 10.5 6 3 10.5Z" fill="currentColor"/>`,
  reading: svg`<path d="M3 1.5 10.5 6 3 10.5Z" fill="currentColor"/>`,
  paused: svg`<path d="M3.5 2v8M8.5 2v8" stroke="currentColor" stroke-width="2.2"/>`,
  completed: svg`<path d="m2 6.5 3 3 5-7" fill="none" stroke="currentColor" stroke-width="2"/>`,
  ready: svg`<path d="m2 6.5 3 3 5-7" fill="none" stroke="currentColor" stroke-width="2"/>`,
  alive: svg`<path d="m2 6.5 3 3 5-7" fill="none" stroke="currentColor" stroke-width="2"/>`,
  failed: svg`<path d="m2.5 2.5 7 7m0-7-7 7" stroke="currentColor" stroke-width="2"/>`,
  lost: svg`<path d="m2.5 2.5 7 7m0-7-7 7" stroke="currentColor" stroke-width="2"/>`,
  cancelled: svg`<path d="M2 6h8" stroke="currentColor" stroke-width="2"/>`,
  given_up: svg`<path d="M2 6h8" stroke="currentColor" stroke-width="2"/>`,
};

/** A state as a word with a sign: colour alone says nothing here. */
export const stateMark = (state, word = state.replaceAll("_", " ")) =>
  html`<span class="state ${state}"><svg viewBox="0 0 12 12" aria-hidden="true">${SIGNS[state] ?? SIGNS.queued}</svg>${word}</span>`;

/** A problem document: what is wrong, where, and what was found. @param {Rest["Problem"]} problem @param {unknown} more */
export function problemNote(problem, more = nothing) {
  if (!problem) return nothing;
  return html`<div class="note bad" role="alert">
    <strong>${problem.title}</strong>
    ${problem.detail ? html`<span>${problem.detail}</span>` : nothing}
    ${problem.errors?.length > 1 ? html`<ul>${problem.errors.map((each) => html`<li><code>${each.pointer || "body"}</code> ${each.detail}</li>`)}</ul>` : nothing}
    ${problem.log_tail ? html`<details><summary>The worker's last lines</summary><pre>${problem.log_tail}</pre></details>` : nothing}
    ${more}
  </div>`;
}

/** What stands where something is not read yet, unless a problem says why. */
export const loading = (problem) => (problem ? nothing : html`<p class="soft">Loading…</p>`);

/** Says that a stream of events is broken. */
export const lostBanner = (connection) =>
  connection === "lost"
    ? html`<div class="banner" role="status">The connection to the server is lost: what you see may be old. Trying again…</div>`
    : nothing;

/** The problem of whatever was thrown, unless it was the leaving of the page. */
export function problemOf(error) {
  if (error.name === "AbortError") return null;
  if (error.problem) return error.problem;
  console.error(error);
  return { title: "The page has failed", detail: String(error), status: 0 };
}

/** How far something is, from 0 to 1. */
export function progressBar(fraction, label) {
  const share = Math.max(0, Math.min(1, fraction || 0));
  return html`<div class="progress" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(share * 100)}>
    <span .style=${`width:${(share * 100).toFixed(1)}%`}></span>
  </div>`;
}

/** The head of a view. Its title takes the focus when the view is opened. */
export const heading = (
  title,
  { crumbs = nothing, below = nothing, actions = nothing } = {},
) => html`<div class="head">
  <div>${crumbs === nothing ? nothing : html`<p class="crumbs">${crumbs}</p>`}<h1 tabindex="-1">${title}</h1>${below}</div>
  ${actions === nothing ? nothing : html`<div class="actions">${actions}</div>`}
</div>`;

/**
 * A table that scrolls by itself where it is wider than its place.
 * @param {(string | [string, string])[]} heads of the columns, with the class of some: `unseen` is read out alone
 * @param {unknown} rows
 * @param {{kind?: string, caption?: string}} options
 */
export const table = (heads, rows, { kind = "", caption } = {}) =>
  html`<div class="scroll" tabindex="0" role="group" aria-label="Table"><table class=${kind}>${caption ? html`<caption>${caption}</caption>` : nothing}
  <thead><tr>${heads.map((head) => {
    const [text, place] = Array.isArray(head) ? head : [head, ""];
    return html`<th scope="col" class=${place}>${place.includes("unseen") ? html`<span class="hidden-text">${text}</span>` : text}</th>`;
  })}</tr></thead><tbody>${rows}</tbody></table></div>`;

/** A button that copies a text and says so. */
export const copyButton = (text, label = "Copy") =>
  html`<button class="quiet" type="button" @click=${async (event) => {
    const button = event.currentTarget;
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), 1500);
  }}>${label}</button>`;

/** Ask before something that cannot be taken back. Resolves to whether it was confirmed. */
export function confirmed(question, detail, yes) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "question");
  const title = Object.assign(document.createElement("h2"), {
    textContent: question,
    id: "question",
  });
  const text = Object.assign(document.createElement("p"), {
    textContent: detail,
    className: "soft",
  });
  const form = Object.assign(document.createElement("form"), {
    method: "dialog",
    className: "actions",
  });
  const keep = Object.assign(document.createElement("button"), {
    textContent: "No, go back",
    value: "no",
  });
  const sure = Object.assign(document.createElement("button"), {
    textContent: yes,
    value: "yes",
    className: "danger",
  });
  form.append(keep, sure);
  const box = Object.assign(document.createElement("div"), { className: "stack" });
  box.append(title, text, form);
  dialog.append(box);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}

/** A select with its label. */
export const choose = (
  label,
  value,
  options,
  onChange,
  extra = {},
) => html`<label class="field"><span>${label}</span>
  <select name=${extra.name ?? nothing} @change=${(event) => onChange(event.target.value)}>
    ${options.map(([key, text]) => html`<option value=${key} ?selected=${String(key) === String(value ?? "")}>${text}</option>`)}
  </select></label>`;
