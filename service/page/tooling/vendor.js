// npm ci && npm run vendor
// Bundles what the page uses of Lit and d3 into ../content/vendor, with versions, licences, digests.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const TARGET = new URL("../content/vendor/", import.meta.url).pathname;
const files = {};
const licences = [];

for (const name of ["d3", "lit"]) {
  const built = await build({
    entryPoints: [`${name}.js`],
    bundle: true,
    minify: true,
    format: "esm",
    legalComments: "none",
    conditions: ["production"],
    alias: Object.fromEntries(
      ["d3-format", "d3-interpolate", "d3-time", "d3-time-format"].map((each) => [
        each,
        "./linear-only.js",
      ]),
    ),
    metafile: true,
    outfile: `${TARGET}${name}.js`,
  });
  const body = readFileSync(`${TARGET}${name}.js`);
  const packages = packagesOf(
    Object.entries(Object.values(built.metafile.outputs)[0].inputs)
      .filter(([, { bytesInOutput }]) => bytesInOutput)
      .map(([path]) => path),
  );
  files[`${name}.js`] = { sha256: createHash("sha256").update(body).digest("hex"), packages };
}
writeFileSync(`${TARGET}vendor.json`, `${JSON.stringify(files, null, 2)}\n`);
writeFileSync(`${TARGET}LICENSES.txt`, licences.join(`\n\n${"-".repeat(78)}\n\n`));

/** Name, version and licence of every package that went into a bundle. */
function packagesOf(inputs) {
  const folders = new Set(
    inputs.flatMap((path) => path.match(/^node_modules\/(?:@[^/]+\/)?[^/]+/) ?? []),
  );
  return [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
    const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
    licences.push(
      `${name} ${version} (${license})\n\n${readFileSync(`${folder}/${file}`, "utf8").trim()}`,
    );
    return { name, version, license };
  });
}
