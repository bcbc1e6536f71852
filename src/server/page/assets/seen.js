const SEEN_AFTER_MS = 1200;

/** Tells which elements have been before the reader's eyes: in view for a while, in a page that is shown. */
export class Seen {
  #timers = new Map();
  #observer;
  #onSeen;

  constructor(root, onSeen) {
    this.#onSeen = onSeen;
    this.#observer = new IntersectionObserver((entries) => entries.forEach((entry) => this.#look(entry)), { root, threshold: 0.5 });
    document.addEventListener("visibilitychange", this.#visibility);
  }
  watch(element) {
    this.#observer.observe(element);
  }
  unwatch(element) {
    this.#observer.unobserve(element);
    this.#stop(element);
  }
  end() {
    this.#observer.disconnect();
    document.removeEventListener("visibilitychange", this.#visibility);
    for (const element of [...this.#timers.keys()]) this.#stop(element);
  }

  #look({ target, isIntersecting }) {
    this.#stop(target);
    if (isIntersecting) this.#timers.set(target, document.hidden ? undefined : this.#start(target));
  }
  #start(element) {
    return setTimeout(() => this.#onSeen(element), SEEN_AFTER_MS);
  }
  #stop(element) {
    clearTimeout(this.#timers.get(element));
    this.#timers.delete(element);
  }
  #visibility = () => {
    for (const [element, timer] of this.#timers) {
      clearTimeout(timer);
      this.#timers.set(element, document.hidden ? undefined : this.#start(element));
    }
  };
}
