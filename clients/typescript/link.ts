import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";

/** A TCP proxy before one client: what networks do to it is done here. */
export class Link {
  /** What the server says is thrown away. */
  deaf = false;
  /** Nobody is let in. */
  away = false;
  target: string;
  #server = createServer((near) => this.#join(near));
  #sockets = new Set<Socket>();

  private constructor(target: string) {
    this.target = target;
  }
  static async to(target: string): Promise<Link> {
    const link = new Link(target);
    await once(link.#server.listen(0, "127.0.0.1"), "listening");
    return link;
  }
  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}${new URL(this.target).pathname}`;
  }
  /** Destroys the sockets: no close frame, no goodbye. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
  #join(near: Socket) {
    if (this.away) return near.destroy();
    const { hostname, port } = new URL(this.target);
    const far = connect(Number(port), hostname);
    near.on("data", (data) => far.write(data));
    far.on("data", (data) => this.deaf || near.write(data));
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => {}).on("close", () => other.destroy());
    }
  }
}
