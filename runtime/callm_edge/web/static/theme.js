// Dark, light or the system's. Loaded before the page is drawn, so that it does not flash in the other one.
'use strict';
(() => {
  const ORDER = ['system', 'dark', 'light'];
  const stored = () => {
    try { return localStorage.getItem('callm-edge-theme') || 'system'; } catch { return 'system'; }
  };
  const apply = (theme) => {
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById('theme');
    if (button) button.textContent = `Theme: ${theme}`;
    document.dispatchEvent(new Event('theme'));
  };
  apply(stored());
  document.addEventListener('DOMContentLoaded', () => {
    apply(stored());
    document.getElementById('theme').addEventListener('click', () => {
      const next = ORDER[(ORDER.indexOf(stored()) + 1) % ORDER.length];
      try { localStorage.setItem('callm-edge-theme', next); } catch { /* private windows keep nothing */ }
      apply(next);
    });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => apply(stored()));
  });
})();
