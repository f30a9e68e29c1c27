// BullMQ: every job of a queue is done exactly once, failed ones again; PROGRAM HOST PORT PREFIX. No hash tag: its keys lie in
// several slots. One of its two workers is connected to another node. BullMQ promises at least once for a job that stalled, or
// failed because its end could not be handed in.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { again, killing, passes, sleep, until } from './killed.mjs';
const { Queue, Worker, QueueEvents } = createRequire(process.env.CLIENT_MODULES + '/')('bullmq');
const [host, port, name] = process.argv.slice(2);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const others = { ...connection, port: Number(process.env.CLIENT_OTHER) };

// An error while a job is handed in makes it fail, or stall: it is done again.
const wrong = [];
const complain = (e) => { if (!killing || !(passes(e) || /Missing lock|not in the active state/.test(e.message))) wrong.push(e); };
const queue = new Queue(name, { connection });
const events = new QueueEvents(name, { connection });
for (const c of [queue, events]) c.on('error', complain);
await events.waitUntilReady();
const done = new Map(), heard = new Map();
let failed = 0, stalled = 0, unsure = 0;
events.on('completed', ({ jobId }) => heard.set(jobId, (heard.get(jobId) ?? 0) + 1));
const work = async (job) => {
  if (job.data.i % 50 === 0 && job.attemptsMade === 0) {
    failed += 1;
    throw new Error('once more');
  }
  done.set(job.data.i, (done.get(job.data.i) ?? 0) + 1);
  return job.data.i * 2;
};
const patience = killing ? { lockDuration: 4000, stalledInterval: 1000, maxStalledCount: 5 } : {};
const workers = [connection, others].map((c) => new Worker(name, work, { connection: c, concurrency: 10, ...patience }));
for (const w of workers) w.on('error', complain).on('stalled', () => { stalled += 1; }).on('failed', (job, e) => { unsure += passes(e); });

const options = { attempts: 3, backoff: { type: 'fixed', delay: 100 } };
const special = (i) => ({ ...options, delay: i % 2 ? 200 : 0, priority: 1 + (i % 3) });
let jobs = 300;
if (killing) {
  jobs = await until(100, 200, (i) => again(() => queue.add('job', { i }, { ...(i % 20 ? options : special(i)), jobId: `job-${i}` })));
} else {
  await queue.addBulk([...Array(jobs - 20).keys()].map((i) => ({ name: 'job', data: { i }, opts: options })));
  for (let i = jobs - 20; i < jobs; i++) await queue.add('job', { i }, special(i));
}

const end = Date.now() + 60000;
while ((done.size < jobs || heard.size < jobs) && Date.now() < end) await sleep(50);
const missing = [...Array(jobs).keys()].filter((i) => !done.has(i));
for (const i of missing) console.log(`not done: ${i}, ${await queue.getJobState(`job-${i}`)}`);
assert.equal(done.size, jobs);
assert.equal(heard.size, jobs);
const counts = await again(() => queue.getJobCounts('completed', 'failed', 'active', 'waiting', 'delayed', 'prioritized'));
assert.deepEqual({ ...counts }, { completed: jobs, failed: 0, active: 0, waiting: 0, delayed: 0, prioritized: 0 });
const twice = [...done.values()].reduce((sum, n) => sum + n - 1, 0);
assert.ok(twice <= stalled + unsure, `${twice} were done twice, ${stalled} had stalled, ${unsure} could not be handed in`);
assert.deepEqual(wrong, []);
assert.ok(failed >= Math.ceil(jobs / 50) && failed <= Math.ceil(jobs / 50) + stalled + unsure);
if (!killing) assert.ok([...heard.values()].every((n) => n === 1));
console.log(`ok jobs: ${jobs} done, ${twice} of them twice, ${failed} after a failure; ${stalled} stalled, ${unsure} could not be handed in`);
for (const c of [...workers, events, queue]) await c.close();
