export { quadtree } from "d3-quadtree";
export { scaleLinear } from "d3-scale";
export { area, curveStepAfter, line } from "d3-shape";

/** d3's own type takes words too; charts have numbers alone. */
export function extent<T>(
  values: Iterable<T>,
  of?: (each: T) => number,
): [number, number] | [undefined, undefined];
