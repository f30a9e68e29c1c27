// express-session with connect-redis: users go from one of two servers, each connected to its own node, to the other, and their
// sessions with them; PROGRAM HOST PORT PREFIX.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { again, killing, until } from './killed.mjs';
const require = createRequire(process.env.CLIENT_MODULES + '/');
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');
const [host, port, name] = process.argv.slice(2);

async function server(port) {
  const client = await createClient({ socket: { host, port: Number(port), reconnectStrategy: false } }).on('error', (e) => { throw e; }).connect();
  const app = express();
  app.use(session({ store: new RedisStore({ client, prefix: `${name}:` }), secret: 'of this test', resave: false, saveUninitialized: false }));
  app.get('/', (request, response, next) => {
    request.session.visits = (request.session.visits ?? 0) + 1;
    request.session.save((e) => (e ? next(e) : response.json({ visits: request.session.visits })));
  });
  app.get('/leave', (request, response, next) => request.session.destroy((e) => (e ? next(e) : response.json({}))));
  app.use((e, request, response, _next) => response.headersSent || response.status(503).send(e.message));
  const listener = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => listener.once('listening', resolve));
  return { url: `http://127.0.0.1:${listener.address().port}`, close: () => { listener.close(); listener.closeAllConnections(); client.destroy(); } };
}
const servers = [await server(port), await server(process.env.CLIENT_OTHER)];

class User {
  visits = 0;
  unsure = {};
  async get(path, which) {
    return again(async () => {
      const response = await fetch(servers[which].url + path, { headers: this.cookie ? { cookie: this.cookie } : {} });
      if (!response.ok) throw new Error(await response.text());
      this.cookie = response.headers.get('set-cookie')?.split(';')[0] ?? this.cookie;
      return response.json();
    }, this.unsure);
  }
  async visit(which) {
    const before = this.unsure.count ?? 0;
    const { visits } = await this.get('/', which);
    assert.ok(visits > this.visits && visits <= this.visits + 1 + (this.unsure.count ?? 0) - before, `visit ${visits} after ${this.visits}`);
    this.visits = visits;
  }
}

const users = [...Array(20)].map(() => new User());
const round = (i) => Promise.all(users.map((user, u) => user.visit((i + u) % 2)));
let rounds = 20;
if (killing) rounds = await until(15, 15, round);
else for (let i = 0; i < rounds; i++) await round(i);
for (const user of users) await user.visit(0);
await Promise.all(users.map((user) => user.get('/leave', 1)));
for (const user of users) {
  user.visits = 0;
  await user.visit(0);
}
const retried = users.reduce((sum, { unsure }) => sum + (unsure.count ?? 0), 0);
console.log(`ok sessions: ${users.length} users, ${rounds} visits each, ${retried} tried again`);
for (const s of servers) s.close();
