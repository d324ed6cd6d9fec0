// A classic script, run before the first paint: the chosen theme never flashes the other one.
const chosen = localStorage.getItem("elasticnas-theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
