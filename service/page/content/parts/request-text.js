/** One request in three languages, to copy. */

const quoted = (text) =>
  /^[\w.:/=@-]+$/.test(text) ? text : `'${String(text).replaceAll("'", `'\\''`)}'`;

export function asCurl(request) {
  return `curl -X POST ${location.origin}/v1/searches \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(request, null, 2))}`;
}

export function asPython(request) {
  const python = JSON.stringify(request, null, 4)
    .replace(/\bnull\b(?=[,\n\]}])/g, "None")
    .replace(/\btrue\b(?=[,\n\]}])/g, "True")
    .replace(/\bfalse\b(?=[,\n\]}])/g, "False");
  return `from elasticnas.client import Client\n\nwith Client("${location.origin}") as client:\n    search = client.start_search(${python.replaceAll("\n", "\n    ")})\n    print(search.id)`;
}

/** The command; null where the request holds what no option says. */
export function asCommand(request) {
  const { strategy = {}, budget = {} } = request;
  const options = [
    ["--supernet", request.supernet_id],
    ["--dataset", request.dataset_id],
    ["--name", request.name],
    ...(request.objectives ?? []).map((each) => ["--objective", each]),
    ...(request.constraints ?? []).map((each) => ["--constraint", `${each.cost}<=${each.max}`]),
    ["--strategy", strategy.name],
    ...Object.entries(strategy)
      .filter(([name]) => name !== "name")
      .map(([name, value]) => [
        "--set",
        `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`,
      ]),
    ["--evaluations", budget.evaluations],
    ["--seconds", budget.seconds],
    ["--max-length", request.max_length],
    ["--seed", request.seed],
    ["--parallel", request.parallel_evaluations],
    ["--verify", request.verify],
    ["--verify-dataset", request.verify_dataset_id],
    ["--racing", request.racing?.confidence],
    ["--weight", request.weight],
    ["--precision", request.precision],
    [
      "--plateau",
      request.plateau &&
        `${request.plateau.evaluations ?? 100}:${request.plateau.min_gain ?? 0.001}`,
    ],
    ["--max-failures", request.max_failures],
    ["--task-settings", request.task_settings && JSON.stringify(request.task_settings)],
  ].filter(([, value]) => value !== undefined && value !== null && value !== "");
  const initial = request.initial_subnets?.length ? " \\\n  --initial subnets.json" : "";
  return `elasticnas search --server ${location.origin}${options.map(([name, value]) => ` \\\n  ${name} ${quoted(String(value))}`).join("")}${initial}`;
}
