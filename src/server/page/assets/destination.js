// Where a chat leads to: `{user}`, `{channel}` or `{group}`, as the protocol has it.

export const keyOf = (to) => JSON.stringify(to);

/** A name for people. */
export function titleOf(to, user) {
  if (to.channel !== undefined) return `#${to.channel}`;
  if (to.group !== undefined) return `group ${to.group.slice(0, 6)}`;
  return to.user === user ? `${to.user} (notes)` : to.user;
}

/** What somebody typed: `#name` is a channel, all else a user. */
export function parse(text) {
  const name = text.trim();
  return name.startsWith("#") ? { channel: name.slice(1) } : { user: name };
}
