// socket.io with its Redis adapter: two servers, each connected to its own node, reach each other's clients, each message once;
// PROGRAM HOST PORT PREFIX.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { killing, sleep, until } from './killed.mjs';
const require = createRequire(process.env.CLIENT_MODULES + '/');
const { Redis } = require('ioredis');
const { createAdapter } = require('@socket.io/redis-adapter');
const { Server } = require('socket.io');
const { io: connect } = require('socket.io-client');
const [host, port, name] = process.argv.slice(2);

const redis = [];
const open = (port) => {
  redis.push(new Redis({ host, port: Number(port), commandTimeout: 20000 }));
  return redis.at(-1);
};
const servers = await Promise.all([port, process.env.CLIENT_OTHER].map(async (p) => {
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter(open(p), open(p), { key: name }) });
  io.on('connection', (socket) => socket.on('join', (room, done) => Promise.resolve(socket.join(room)).then(done)));
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return { io, url: `http://127.0.0.1:${http.address().port}` };
}));
const clients = await Promise.all([0, 1, 2, 3].map(async (c) => {
  const socket = connect(servers[c % 2].url, { transports: ['websocket'], reconnection: false });
  const heard = { all: [], room: [] };
  socket.on('all', (i) => heard.all.push(i)).on('room', (i) => heard.room.push(i)).on('ask', (i, answer) => answer(i * 2));
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  if (c < 2) await socket.timeout(20000).emitWithAck('join', 'few');
  return { socket, heard };
}));

const send = async (i) => {
  const { io } = servers[i % 2];
  io.emit('all', i);
  io.to('few').emit('room', i);
  if (i % 10 === 0) await sleep(10);
};
let messages = 500;
if (killing) messages = await until(200, 400, send);
else for (let i = 0; i < messages; i++) await send(i);

const complete = () => clients.every(({ heard }, c) => heard.all.length >= messages && (c >= 2 || heard.room.length >= messages));
for (const end = Date.now() + 20000; !complete() && Date.now() < end;) await sleep(50);
const wanted = [...Array(messages).keys()];
for (const [c, { heard }] of clients.entries()) {
  assert.deepEqual(heard.all.toSorted((a, b) => a - b), wanted);
  assert.deepEqual(heard.room.toSorted((a, b) => a - b), c < 2 ? wanted : []);
}
console.log(`ok messages: ${messages} to all and to a room, each heard once`);

// A server counts the others by PUBSUB NUMSUB, to know how many answers to wait for.
for (const { io } of servers) {
  assert.equal((await io.fetchSockets()).length, clients.length);
  assert.equal((await io.in('few').fetchSockets()).length, 2);
  assert.deepEqual(await io.timeout(10000).emitWithAck('ask', 21), [42, 42, 42, 42]);
}
console.log('ok answers: of all clients, through either server');
for (const { socket } of clients) socket.disconnect();
for (const { io } of servers) await io.close();
for (const r of redis) r.disconnect();
process.exit();         // timers of answers that came are left
