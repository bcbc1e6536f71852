// Stock socket.io clients for a process that speaks in lines. Run by chatctl and by its tests.
//
// Lines in:  <client> open {url, options}     a client, which connects with its hello
//            <client> frame {id, method: {…}} a command
//            <client> emit [id, name, …]      any event; {"$binary": "…"} becomes bytes; id 0: without a callback
//            <client> cut                     the connection is dropped without a word
//            <client> close
// Lines out: <client> frame {…}               a reply or a push, as protocol v1 has it
//            <client> closed {code, reason}   it is over, or (with reconnection) interrupted
//            <client> transport "…"           how it is connected now
'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');
const readline = require('node:readline');

const modules = path.resolve(process.argv.at(-1));
const { io } = createRequire(path.join(modules, 'driver.js'))('socket.io-client');

const clients = new Map();
const say = (name, kind, value) => process.stdout.write(`${name} ${kind} ${JSON.stringify(value)}\n`);

/** What stands for bytes becomes bytes. */
const bytes = (value) => (value?.$binary === undefined ? value : Buffer.from(value.$binary));

class Client {
  constructor(name, { url, options }) {
    this.name = name;
    this.helloId = 0;
    this.closing = { code: null, reason: '' };
    this.over = false;
    this.socket = io(url, {
      forceNew: true, reconnection: false, ...options, autoConnect: false,
    });
    const { socket } = this;
    socket.on('connect', () => {
      const { engine } = socket.io;
      say(name, 'transport', engine.transport.name);
      engine.on('upgrade', (transport) => say(name, 'transport', transport.name));
    });
    socket.on('connect_error', (error) => {
      let refusal = null;
      try { refusal = JSON.parse(error.message); } catch { /* the transport's own words */ }
      if (refusal?.code && this.helloId) this.frame({ id: this.helloId, error: refusal });
      else if (!this.socket.io.opts.reconnection) this.end(error.message);
    });
    socket.on('disconnect', (reason) => this.end(reason));
    socket.onAny((event, body) => {
      if (event === 'closing') this.closing = body;
      else if (event === 'hello') this.frame({ id: this.helloId, hello: body });
      else this.frame({ [event]: body });
    });
  }

  frame(frame) {
    if (!this.cutOff) say(this.name, 'frame', frame);
  }

  end(reason) {
    if (this.over) return;
    const { code, reason: why } = this.closing;
    this.closing = { code: null, reason: '' };
    say(this.name, 'closed', { code, reason: why || reason });
    if (!this.socket.io.opts.reconnection) {
      this.over = true;
      clients.delete(this.name);
    }
  }

  take(kind, value) {
    switch (kind) {
      case 'frame': {
        const { id, ...methods } = value;
        const [method] = Object.keys(methods);
        if (method === 'hello' && !this.socket.connected) {
          this.helloId = id;
          this.socket.auth = methods.hello;
          this.socket.connect();
          return;
        }
        this.socket.emit(method, methods[method], (reply) => {
          const [outcome] = Object.keys(reply);
          this.frame({ id, [outcome === 'ok' ? method : outcome]: reply[outcome] });
        });
        break;
      }
      case 'emit': {
        const [id, ...args] = value;
        args.forEach((argument, index) => { args[index] = bytes(argument); });
        if (id) args.push((reply) => this.frame({ id, reply }));
        this.socket.emit(...args);
        break;
      }
      case 'cut': {
        const { transport } = this.socket.io.engine;
        if (transport.ws) transport.ws.terminate();
        else {
          // Its requests end, and there will be none.
          this.cutOff = true;
          transport.pollXhr?.abort();
          this.end('cut');
        }
        break;
      }
      case 'close':
        this.socket.disconnect();
        break;
      default:
        throw new Error(`what is ${kind}?`);
    }
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [name, kind] = line.split(' ', 2);
  const text = line.slice(name.length + kind.length + 2);
  const value = text ? JSON.parse(text) : undefined;
  if (kind === 'open') clients.set(name, new Client(name, value));
  else clients.get(name)?.take(kind, value);
}).on('close', () => process.exit(0));
