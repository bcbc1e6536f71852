import { Pane } from "./pane.js";
import { themeButton } from "./theme.js";

const main = document.getElementById("app");
const button = document.getElementById("panes");
const panes = [];
const unread = [0, 0];

function setPanes(count) {
  while (panes.length > count) {
    const pane = panes.pop();
    pane.end();
    pane.element.remove();
    unread[panes.length] = 0;
  }
  while (panes.length < count) {
    const index = panes.length;
    panes.push(new Pane(index + 1, (messages) => {
      unread[index] = messages;
      const sum = unread[0] + unread[1];
      document.title = sum > 0 ? `(${sum}) chatctl` : "chatctl";
    }));
    main.append(panes[index].element);
  }
  main.classList.toggle("two", count === 2);
  button.setAttribute("aria-pressed", String(count === 2));
  const address = new URL(location.href);
  if (count === 2) address.searchParams.set("panes", "2");
  else address.searchParams.delete("panes");
  history.replaceState(null, "", address);
}

button.onclick = () => setPanes(panes.length === 2 ? 1 : 2);
themeButton(document.getElementById("theme"));
setPanes(new URLSearchParams(location.search).get("panes") === "2" ? 2 : 1);
