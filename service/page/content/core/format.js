/** Numbers, units and times as a reader takes them in. */

export const COSTS = {
  gflops: { label: "GFLOPs", unit: "GFLOPs" },
  params: { label: "Parameters", unit: "parameters" },
  nonzero_params: { label: "Non-zero parameters", unit: "non-zero parameters" },
  trainable_params: { label: "Trainable parameters", unit: "trainable parameters" },
  torch_flops: { label: "FLOPs (torch)", unit: "FLOPs" },
  gflops_per_token: { label: "GFLOPs per token", unit: "GFLOPs per token" },
  weight_bytes: { label: "Weights", unit: "", bytes: true },
  kv_bytes: { label: "Keys and values", unit: "", bytes: true },
  adapter_gflops: { label: "GFLOPs of adapters", unit: "GFLOPs" },
  adapter_bytes: { label: "Adapters", unit: "", bytes: true },
};

export const isCost = (name) => name in COSTS;

const SMALLER = new Set([
  "perplexity",
  "word_perplexity",
  "byte_perplexity",
  "bits_per_byte",
  "loss",
]);

/** Learn of the server's description which metrics are better when smaller. @param {Rest["Meta"]} meta */
export function learnMetrics({ tasks }) {
  for (const { name, better } of tasks.flatMap((task) => task.metrics))
    if (better === "smaller") SMALLER.add(name);
}

/** Whether less of this objective is better. */
export const lessIsBetter = (name) => isCost(name) || SMALLER.has(name);

/** The name of the bound on an objective as the front's parameters call it. */
export const boundOf = (name) => `${lessIsBetter(name) ? "max" : "min"}_${name}`;

export const label = (name) => COSTS[name]?.label ?? capital(name.replaceAll("_", " "));

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en");

export const count = (value) => whole.format(value);

/** A size that may be beyond all words, such as that of a space. */
export function size(value) {
  if (value < 1e7) return whole.format(value);
  const exponent = Math.floor(Math.log10(value));
  return `${(value / 10 ** exponent).toFixed(1)} × 10${superscript(exponent)}`;
}

const superscript = (number) => String(number).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);

/** A cost or a metric, without its unit. */
export function value(name, number) {
  if (number === null || number === undefined) return "–";
  if (COSTS[name]?.bytes) return bytes(number);
  if (isCost(name)) return number < 1e4 ? short.format(number) : compact.format(number);
  return Math.abs(number) >= 100 ? short.format(number) : number.toFixed(3);
}

/** A cost or a metric with its unit or its name. */
export function quantity(name, number) {
  if (isCost(name))
    return `${value(name, number)}${COSTS[name].bytes ? ` of ${label(name).toLowerCase()}` : ` ${COSTS[name].unit}`}`;
  return `${name.replaceAll("_", " ")} ${value(name, number)}`;
}

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (number >= 1000 && at < units.length - 1) {
    number /= 1000;
    at += 1;
  }
  return `${at ? short.format(number) : number} ${units[at]}`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;

/** Seconds as a duration of two units at most. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

const clock = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
export const time = (text) => (text ? clock.format(new Date(text)) : "–");

/** How long ago something was. */
export function ago(text) {
  const seconds = (Date.now() - new Date(text).getTime()) / 1000;
  if (seconds < 45) return "just now";
  if (seconds < 5400) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return time(text);
}

/** A choice of a dimension as text. */
export const choice = (each) =>
  Array.isArray(each) ? (each.length ? each.join(", ") : "none") : String(each);
