// Dark or light: as the system, or as the toggle was left. Runs before the page is painted.

(() => {
  const STORED = "mlx-edge.theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

  const stored = localStorage.getItem(STORED);
  if (stored) root.dataset.theme = stored;

  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      localStorage.setItem(STORED, root.dataset.theme);
    });
  });
})();
