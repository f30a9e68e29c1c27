// redlock: sections of four contenders over two nodes exclude each other; each adds one to a counter by GET and SET, and none is
// lost; PROGRAM HOST PORT PREFIX.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { again, killing, until } from './killed.mjs';
const require = createRequire(process.env.CLIENT_MODULES + '/');
const Redis = require('ioredis5');          // redlock 4 wants callbacks
const Redlock = require('redlock');
const [host, port, name] = process.argv.slice(2);
const ttl = 8000;
const sides = [port, process.env.CLIENT_OTHER].map((p) => {
  const client = new Redis({ host, port: Number(p), maxRetriesPerRequest: 1, commandTimeout: 20000 });
  return { client, locks: new Redlock([client], { retryCount: 1000, retryDelay: 20, retryJitter: 10 }) };
});

const resources = 5;
const inside = Array(resources).fill(0), entered = Array(resources).fill(0);
let left = 0;
async function section({ client, locks }, which) {
  const lock = await locks.lock(`${name}:lock:${which}`, ttl);
  assert.equal(inside[which], 0, 'two hold the lock');
  inside[which] += 1;
  const count = Number(await again(() => client.get(`${name}:counter:${which}`)));
  await again(() => client.set(`${name}:counter:${which}`, count + 1));
  entered[which] += 1;
  assert.ok(Date.now() < lock.expiration, 'too slow for this test');
  inside[which] -= 1;
  await lock.unlock().catch((e) => {          // it goes when its time is up
    if (!killing) throw e;
    left += 1;
  });
}
const round = (i) => Promise.all([0, 1, 2, 3].map((c) => section(sides[c % 2], i % resources)));
if (killing) await until(10, 20, round);
else for (let i = 0; i < 20; i++) await round(i);
for (let i = 0; i < resources; i++) assert.equal(Number(await again(() => sides[0].client.get(`${name}:counter:${i}`))), entered[i]);
console.log(`ok locks: ${entered.reduce((a, b) => a + b)} sections, ${left} left to their time-out`);
for (const { client } of sides) client.disconnect();
