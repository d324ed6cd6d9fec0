import { html, nothing, svg } from "../vendor/lit.js";
import { choice } from "../core/format.js";
import { table } from "../parts/common.js";

const ORDER = ["heads", "ffn", "rank"];
const TITLES = {
  heads: "Heads",
  ffn: "FFN width",
  rank: "Rank",
  operation: "Operation",
  hidden: "Hidden size",
  kernel: "Kernel",
  blocks: "Blocks",
  ffn_layers: "FFN layers",
};
const ROW = 24;
const LEFT = 26;
const BESIDE = 64; // of a narrow window is not for the picture: its words are not to shrink

export const partTitle = (part) => TITLES[part] ?? part;

/**
 * A subnet as rows of layers: heads as cells, widths and ranks as bars, skipped halves hatched.
 * @param {Rest["LayersRead"]} shape
 * @param {Record<string, any>} subnet
 * @param {Rest["LayerCost"][] | null} runs of each layer, where known
 */
export function layerPicture(shape, subnet, runs = null, width = 340) {
  const parts = partsOf(shape);
  width = Math.min(width, innerWidth - BESIDE);
  const widths = columnWidths(parts, shape, width - LEFT);
  const height = 20 + shape.layers.length * ROW;
  return html`
    ${shape.dimensions.length ? html`<dl class="pairs small">${shape.dimensions.map((each) => html`<dt>${each.name}</dt><dd>${choice(subnet[each.name])} <span class="soft">of ${each.choices.map(choice).join(", ")}</span></dd>`)}</dl>` : nothing}
    <svg class="layers" viewBox="0 0 ${width} ${height}" role="img" aria-label="Layers of the subnet; the table below says the same">
      <defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"></path></pattern></defs>
      ${parts.map((part, i) => svg`<text x=${widths[i].x} y="11">${partTitle(part)}</text>`)}
      ${shape.layers.map((each, at) => layerRow(each, at, { parts, widths, subnet, runs: runs?.find((run) => run.layer === each.layer)?.runs }))}
    </svg>
    <details><summary>As a table</summary>${layerTable(shape, subnet, runs)}</details>`;
}

function partsOf({ layers }) {
  const found = new Set(
    layers.flatMap((each) => each.dimensions.map((dimension) => dimension.part)),
  );
  for (const each of layers) {
    if (each.optional?.includes("attention")) found.add("heads");
    if (each.optional?.includes("ffn")) found.add("ffn");
  }
  return [
    ...ORDER.filter((part) => found.has(part)),
    ...[...found].filter((part) => !ORDER.includes(part)).sort(),
  ];
}

function columnWidths(parts, { layers }, width) {
  const weight = (part) =>
    ({ heads: 1.35, ffn: 1.35 })[part] ??
    Math.max(
      0.8,
      Math.min(
        1.6,
        0.5 *
          Math.max(
            ...layers.map(
              (each) => each.dimensions.filter((dimension) => dimension.part === part).length,
            ),
          ),
      ),
    );
  const total = parts.reduce((sum, part) => sum + weight(part), 0);
  let x = LEFT;
  return parts.map((part) => {
    const taken = (weight(part) / total) * width;
    const column = { x, width: taken - 12 };
    x += taken;
    return column;
  });
}

const halfOf = (part) => (part === "heads" ? "attention" : part === "ffn" ? "ffn" : null);

function layerRow({ layer, dimensions }, at, { parts, widths, subnet, runs }) {
  const y = 18 + at * ROW;
  return svg`<g>
    <text x="0" y=${y + 14}>${layer}</text>
    ${parts.map((part, i) => {
      const mine = dimensions.filter((each) => each.part === part);
      const skipped =
        runs?.[halfOf(part)] === false ||
        (runs && !halfOf(part) && Object.values(runs).every((each) => each === false));
      if (skipped)
        return svg`<rect class="skipped" x=${widths[i].x} y=${y + 2} width=${widths[i].width} height=${ROW - 7} rx="2"><title>Layer ${layer}: skipped</title></rect>`;
      const share = widths[i].width / Math.max(1, mine.length);
      return mine.map((each, k) =>
        cell(each, subnet[each.name], {
          x: widths[i].x + k * share,
          y: y + 2,
          width: share - (mine.length > 1 ? 3 : 0),
          height: ROW - 7,
        }),
      );
    })}
  </g>`;
}

/** One dimension: cells for a few heads, else a bar of the chosen share with its number. */
function cell(dimension, chosen, { x, y, width, height }) {
  const title = svg`<title>${dimension.name}: ${choice(chosen)} of ${choice(dimension.choices[0])}</title>`;
  const most = dimension.choices[0];
  if (typeof chosen !== "number" || !dimension.ordered)
    return svg`<g>${title}<rect class="back" x=${x} y=${y} width=${width} height=${height} rx="2"></rect><text class="value" x=${x + 4} y=${y + 12.5}>${fitted(choice(chosen), width)}</text></g>`;
  if (dimension.part === "heads" && most <= 24) {
    const room = 16;
    const step = (width - room) / most;
    return svg`<g>${title}${Array.from({ length: most }, (_, i) => svg`<rect class="cell ${i < chosen ? "" : "off"}" x=${x + i * step} y=${y} width=${Math.max(1, step - 1.2)} height=${height} rx="1.5"></rect>`)}
      <text class="value" x=${x + width} y=${y + 12.5} text-anchor="end">${chosen}</text></g>`;
  }
  const room = width > 60 ? 32 : 0;
  const full = width - room;
  return svg`<g>${title}<rect class="back" x=${x} y=${y} width=${full} height=${height} rx="2"></rect>
    <rect class="${dimension.part === "rank" ? "rank" : dimension.part === "heads" ? "cell" : "ffn"}" x=${x} y=${y} width=${(full * chosen) / most} height=${height} rx="2"></rect>
    ${room ? svg`<text class="value" x=${x + width} y=${y + 12.5} text-anchor="end">${chosen}</text>` : nothing}</g>`;
}

const fitted = (text, width) =>
  text.length * 6.4 > width - 6
    ? `${text.slice(0, Math.max(1, Math.floor((width - 12) / 6.4)))}…`
    : text;

function layerTable({ layers }, subnet, runs) {
  return html`${table(
    ["Layer", "Dimension", ["Chosen", "right"], ["Largest", "right"]],
    layers.flatMap(({ layer, dimensions }) => {
      const run = runs?.find((each) => each.layer === layer)?.runs ?? {};
      const out = Object.entries(run)
        .filter(([, does]) => does === false)
        .map(
          ([half]) =>
            html`<tr><td>${layer}</td><td>${half}</td><td class="right">skipped</td><td class="right">–</td></tr>`,
        );
      return [
        ...dimensions.map(
          (each) =>
            html`<tr><td>${layer}</td><td>${each.name}</td><td class="right">${choice(subnet[each.name])}</td><td class="right">${choice(each.choices[0])}</td></tr>`,
        ),
        ...out,
      ];
    }),
  )}`;
}
