// Elements by call. Text only ever becomes text nodes: nothing here parses HTML.

/** `h("button", { type: "button", onclick: f }, "Send")`; a property that is `aria-…`, `data-…`, `role` or `for` is set as an attribute. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** Makes the children of `parent` these, moving as few as possible, so that focus and scroll position stay. */
export function arrange(parent, wanted) {
  let at = parent.firstChild;
  const keep = new Set(wanted);
  for (const node of wanted) {
    while (at && at !== node && !keep.has(at)) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
    if (at === node) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

let ids = 0;
/** An id that no other element has, for labels. */
export const newId = (name) => `${name}-${++ids}`;

/** `12:03`, with the date where it is not today. */
export function clock(ms) {
  const time = new Date(ms);
  const today = time.toDateString() === new Date().toDateString();
  return time.toLocaleString([], today ? { hour: "2-digit", minute: "2-digit" } : { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
}
