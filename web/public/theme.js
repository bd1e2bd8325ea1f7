// Before the first paint, so that a chosen theme does not flash in the other one.
try {
  const { theme, density } = JSON.parse(localStorage.getItem("coder.preferences") ?? "{}");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  if (density) document.documentElement.dataset.density = density;
} catch {}
