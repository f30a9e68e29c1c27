// ioredis against one port, or its Cluster: PROGRAM HOST PORT PREFIX [cluster].
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { killing, load } from './killed.mjs';
const { Cluster, Redis } = createRequire(process.env.CLIENT_MODULES + '/')('ioredis');
const [host, port, name, cluster] = process.argv.slice(2);
const key = (part) => `{${name}}:${part}`;
const redisOptions = { maxRetriesPerRequest: 1, commandTimeout: 20000 };
const open = () => (cluster ? new Cluster([{ host, port: Number(port) }], { redisOptions }) : new Redis({ host, port: Number(port), ...redisOptions }));
const r = open();

assert.equal(await r.ping(), 'PONG');
await r.set(key('a'), Buffer.from([0, 255, 10, 13]));
assert.deepEqual(await r.getBuffer(key('a')), Buffer.from([0, 255, 10, 13]));
await r.hset(key('h'), { f: 1, g: 2 });
assert.deepEqual({ ...(await r.hgetall(key('h'))) }, { f: '1', g: '2' });
console.log('ok connection');

const p = r.pipeline();
for (let i = 0; i < 1000; i++) p.incr(key('n'));
assert.deepEqual((await p.exec()).map(([, n]) => n), [...Array(1000).keys()].map((i) => i + 1));
console.log('ok pipelining');

assert.deepEqual(await r.multi().set(key('w'), 'mine').get(key('w')).exec(), [[null, 'OK'], [null, 'mine']]);
const other = open();
await r.watch(key('w'));
await other.set(key('w'), 'other');
assert.equal(await r.multi().set(key('w'), 'lost').exec(), null);
console.log('ok transactions');

r.defineCommand('addTo', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
assert.equal(await r.addTo(key('s'), 5), 5);
assert.equal(await r.addTo(key('s'), 5), 10);
console.log('ok scripts');

const listener = open();
const heard = new Promise((resolve) => listener.on('message', (channel, text) => resolve([channel, text])));
await listener.subscribe(key('channel'));
await r.publish(key('channel'), 'hello');
assert.deepEqual(await heard, [key('channel'), 'hello']);
console.log('ok pubsub');

const popped = other.blpop(key('queue'), 10);
await r.rpush(key('queue'), 'x');
assert.deepEqual(await popped, [key('queue'), 'x']);
assert.equal(await other.blpop(key('queue'), 0.1), null);
console.log('ok blocking');

for (let i = 0; i < 10; i++) await r.xadd(key('stream'), '*', 'i', i);
await r.xgroup('CREATE', key('stream'), 'g', '0');
const [[, entries]] = await r.xreadgroup('GROUP', 'g', 'c', 'COUNT', 4, 'STREAMS', key('stream'), '>');
assert.equal(entries.length, 4);
assert.equal(await r.xack(key('stream'), 'g', ...entries.map(([id]) => id)), 4);
assert.equal(await r.xlen(key('stream')), 10);
console.log('ok streams');

if (cluster) {
  const spread = [...Array(100).keys()];
  await Promise.all(spread.map((i) => r.set(`${name}:${i}`, i)));
  assert.deepEqual(await Promise.all(spread.map((i) => r.get(`${name}:${i}`))), spread.map(String));
  console.log('ok slots');
}
if (killing) {
  r.defineCommand('hsetBy', { numberOfKeys: 1, lua: "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])" });
  await load(name, {
    set: (k, v) => r.set(k, v), get: (k) => r.get(k), incr: (k) => r.incr(k), rpush: (k, v) => r.rpush(k, v),
    lrange: (k) => r.lrange(k, 0, -1), hset: (k, f, v) => r.hsetBy(k, f, v), hlen: (k) => r.hlen(k),
  }, { sendsAgain: cluster });
}
for (const c of [r, other, listener]) c.disconnect();
