"""Celery: every job is done once and its result comes back; PROGRAM HOST PORT PREFIX.

Starts its own worker, as the same file with two more arguments and connected to another node, and ends it. A line in a file, not
the server, says that a job is done. Celery over Redis promises at least once: what a worker has not acknowledged when its
connection ends or its visibility time-out passes is delivered again. A result that the server refused with -NOQUORUM is not
written again by Celery: its job is done, and its result may stay away.
"""
import collections
import os
import subprocess
import sys
import tempfile
import time

import redis
from celery import Celery, chord, group

import killed

HOST, PORT, NAME = sys.argv[1:4]
URL = "redis://%s:%s/0" % (HOST, PORT)

app = Celery(NAME, broker=URL, backend=URL)
app.conf.update(task_default_queue=NAME, broker_connection_retry_on_startup=True, worker_hijack_root_logger=False,
                result_expires=600, broker_transport_options={"visibility_timeout": 600})


@app.task(name="double")
def double(i):
    return 2 * i


@app.task(name="count")
def count(i, path):
    with open(path, "a") as f:
        f.write("%d\n" % i)
    return 2 * i


@app.task(name="total")
def total(numbers):
    return sum(numbers)


@app.task(name="fragile", bind=True, max_retries=2)
def fragile(self, i):
    if self.request.retries == 0:
        raise self.retry(countdown=0.1)
    return i


def counted(done):
    with open(done, "a+") as f:
        f.seek(0)
        return collections.Counter(map(int, f))


def result_of(result):
    """Nothing where a job was done and its result could not be kept: -NOQUORUM is what came of it then."""
    try:
        return result.get(timeout=60)
    except redis.ResponseError as e:
        if not str(e).startswith("NOQUORUM"):
            raise
        return None


def run(done, log):
    results, unsure = [], []

    def add(i):
        results.append(killed.again(lambda: count.delay(i, done), unsure))
        if i == 99:
            results[0].get(timeout=60)          # jobs are under way when the node dies
    if killed.KILLED:
        jobs = killed.until(100, 200, add)
    else:
        jobs = 100
        for i in range(jobs):
            add(i)
    counts, end = counted(done), time.monotonic() + 60
    while len(counts) < jobs and time.monotonic() < end:
        time.sleep(0.2)
        counts = counted(done)
    assert set(counts) == set(range(jobs)), "not done: %s" % sorted(set(range(jobs)) - set(counts))
    while not all(killed.again(r.ready) for r in results) and time.monotonic() < end:
        time.sleep(0.2)
    came = {i: result_of(r) for i, r in enumerate(results) if killed.again(r.ready)}
    came = {i: value for i, value in came.items() if value is not None}
    assert all(value == 2 * i for i, value in came.items())
    log.seek(0)
    said = log.read().decode(errors="replace")
    refused = said.count("ResponseError: NOQUORUM")
    assert jobs - len(came) <= refused, "%d results did not come, %d were refused" % (jobs - len(came), refused)
    assert group(fragile.s(i) for i in range(10))().get(timeout=60) == list(range(10))
    assert chord((double.s(i) for i in range(10)), total.s())().get(timeout=60) == 90
    twice = sum(counted(done).values()) - jobs
    restored = said.count("Connection to broker lost")
    assert twice <= len(unsure) + 10 * restored, "%d were done twice" % twice
    print("ok jobs: %d done, %d of them twice, %d results refused; 10 after a retry, a chord of 10; %d tried again, %d connections anew"
          % (jobs, twice, jobs - len(came), len(unsure), restored))


if __name__ == "__main__":
    if sys.argv[4:]:
        sys.exit(app.worker_main(["worker", "--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle", "--loglevel=warning", "-Q", NAME]))
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "w+b") as log:
        worker = subprocess.Popen([sys.executable, __file__, HOST, os.environ["CLIENT_OTHER"], NAME, "worker"], stdout=log, stderr=log)
        try:
            run(os.path.join(folder, "done"), log)
        finally:
            worker.terminate()
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            if sys.exc_info()[0]:
                log.seek(0)
                sys.stderr.write(log.read().decode(errors="replace")[-4000:])
