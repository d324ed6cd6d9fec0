export { extent } from "d3-array";
export { quadtree } from "d3-quadtree";
export { scaleLinear } from "d3-scale";
export { area, curveStepAfter, line } from "d3-shape";
