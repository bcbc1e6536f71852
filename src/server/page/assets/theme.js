const THEMES = ["auto", "dark", "light"];

/** A button that goes through the themes; the choice is kept for this browser. */
export function themeButton(button) {
  let theme = "auto";
  try {
    theme = localStorage.getItem("chatctl.theme") ?? "auto";
  } catch {
    // Without storage each page begins with what the system says.
  }
  const show = () => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  button.onclick = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem("chatctl.theme", theme);
    } catch {
      // As above.
    }
    show();
  };
  show();
}
