// node-redis against one port, or its cluster: PROGRAM HOST PORT PREFIX [cluster].
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { killing, load, passes } from './killed.mjs';
const { createClient, createCluster, WatchError } = createRequire(process.env.CLIENT_MODULES + '/')('redis');
const [host, port, name, cluster] = process.argv.slice(2);
const key = (part) => `{${name}}:${part}`;
const plain = () => createClient({ socket: { host, port: Number(port), reconnectStrategy: false } }).on('error', (e) => { throw e; });
const aware = () => createCluster({ rootNodes: [{ url: `redis://${host}:${port}` }] }).on('error', (e) => { if (!killing || !passes(e)) throw e; });
const open = () => (cluster ? aware() : plain()).connect();
const r = await open();
const numbers = (reply) => reply.map(Number);

assert.equal(await r.ping(), 'PONG');
await r.set(key('a'), 'x');
assert.equal(await r.get(key('a')), 'x');
await r.hSet(key('h'), { f: 1, g: 2 });
assert.deepEqual({ ...(await r.hGetAll(key('h'))) }, { f: '1', g: '2' });
console.log('ok connection');

// Commands of one tick leave together.
assert.deepEqual(numbers(await Promise.all([...Array(1000)].map(() => r.incr(key('n'))))), [...Array(1000).keys()].map((i) => i + 1));
console.log('ok pipelining');

assert.deepEqual(await r.multi().set(key('w'), 'mine').get(key('w')).exec(), ['OK', 'mine']);
const other = await open();
if (!cluster) {                  // which has no WATCH
  await r.watch(key('w'));
  await other.set(key('w'), 'other');
  await assert.rejects(r.multi().set(key('w'), 'lost').exec(), WatchError);
}
console.log('ok transactions');

const script = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
assert.equal(Number(await r.eval(script, { keys: [key('s')], arguments: ['5'] })), 5);
assert.equal(Number(await r.evalSha(await r.scriptLoad(script), { keys: [key('s')], arguments: ['5'] })), 10);
console.log('ok scripts');

const listener = await open();
let hear;
const heard = new Promise((resolve) => { hear = resolve; });
await listener.subscribe(key('channel'), hear);
await r.publish(key('channel'), 'hello');
assert.equal(await heard, 'hello');
console.log('ok pubsub');

const popped = other.blPop(key('queue'), 10);
await r.rPush(key('queue'), 'x');
assert.deepEqual({ ...(await popped) }, { key: key('queue'), element: 'x' });
assert.equal(await other.blPop(key('queue'), 0.1), null);
console.log('ok blocking');

for (let i = 0; i < 10; i++) await r.xAdd(key('stream'), '*', { i: String(i) });
await r.xGroupCreate(key('stream'), 'g', '0');
const [{ messages }] = await r.xReadGroup('g', 'c', { key: key('stream'), id: '>' }, { COUNT: 4 });
assert.equal(messages.length, 4);
assert.equal(Number(await r.xAck(key('stream'), 'g', messages.map((m) => m.id))), 4);
assert.equal(Number(await r.xLen(key('stream'))), 10);
console.log('ok streams');

if (cluster) {
  const spread = [...Array(100).keys()].map(String);
  await Promise.all(spread.map((i) => r.set(`${name}:${i}`, i)));
  assert.deepEqual(await Promise.all(spread.map((i) => r.get(`${name}:${i}`))), spread);
  console.log('ok slots');
}
if (killing) {
  // What waits for a node that is gone is given up after five seconds, or when the cluster forgets that node.
  const also = (e) => cluster && ['TimeoutError', 'DisconnectsClientError'].includes(e.constructor.name);
  const hset = "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])";
  await load(name, {
    set: (k, v) => r.set(k, v), get: (k) => r.get(k), incr: (k) => r.incr(k), rpush: (k, v) => r.rPush(k, v),
    lrange: (k) => r.lRange(k, 0, -1), hset: (k, f, v) => r.eval(hset, { keys: [k], arguments: [f, v] }), hlen: async (k) => Number(await r.hLen(k)),
  }, { sendsAgain: cluster, also });
}
for (const c of [r, other, listener]) await c.close();
