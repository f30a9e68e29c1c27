<?php
// phpredis against one port, or its RedisCluster: PROGRAM HOST PORT PREFIX [cluster].
[, $host, $port, $name] = $argv;
$cluster = ($argv[4] ?? '') === 'cluster';
$key = fn($part) => '{' . $name . '}:' . $part;
function check($ok, $what) { if (!$ok) { fwrite(STDERR, "failed: $what\n"); exit(1); } }
$open = function () use ($host, $port, $cluster) {
    if ($cluster) return new RedisCluster(null, ["$host:$port"], 10.0, 20.0);
    $r = new Redis();
    check($r->connect($host, (int)$port, 10.0), 'connect');
    $r->setOption(Redis::OPT_READ_TIMEOUT, 20);
    return $r;
};
$r = $open();

check($r->ping($cluster ? $key('a') : null) == true, 'ping');
check($r->set($key('a'), "\x00\xff binary") && $r->get($key('a')) === "\x00\xff binary", 'set and get');
check($r->hMSet($key('h'), ['f' => 1, 'g' => 2]) && $r->hGetAll($key('h')) === ['f' => '1', 'g' => '2'], 'hash');
check($r->setex($key('e'), 100, 'x') && $r->ttl($key('e')) > 90, 'ttl');
echo "ok connection\n";

if (!$cluster) {                    // which has no pipelines
    $p = $r->multi(Redis::PIPELINE);
    for ($i = 0; $i < 1000; $i++) $p->incr($key('n'));
    check($p->exec() === range(1, 1000), 'pipeline');
    echo "ok pipelining\n";
}

$r->watch($key('w'));
check($r->multi()->set($key('w'), 'mine')->get($key('w'))->exec() === [true, 'mine'], 'exec');
$r->watch($key('w'));
$open()->set($key('w'), 'other');
check($r->multi()->set($key('w'), 'lost')->exec() === ($cluster ? [false] : false) && $r->get($key('w')) === 'other', 'watch');
echo "ok transactions\n";

$script = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
check($r->eval($script, [$key('s'), 5], 1) === 5, 'eval');
check($r->evalSha(sha1($script), [$key('s'), 5], 1) === 10, 'evalsha');
echo "ok scripts\n";

$child = pcntl_fork();
if ($child === 0) {
    usleep(300000);
    $c = $open();
    $c->publish($key('channel'), 'hello');
    usleep(300000);
    $c->rPush($key('queue'), 'x');
    exit(0);
}
$got = null;
try {
    $s = $open();
    $s->subscribe([$key('channel')], function ($r, $channel, $message) use (&$got) {
        $got = $message;
        $r->close();
    });
} catch (RedisException | RedisClusterException $e) {
    check($got !== null, 'subscribe: ' . $e->getMessage());
}
check($got === 'hello', 'message');
echo "ok pubsub\n";
check($r->blPop([$key('queue')], 10) === [$key('queue'), 'x'], 'blpop');
check($r->blPop([$key('queue')], 1) === [], 'blpop times out');
pcntl_waitpid($child, $status);
echo "ok blocking\n";

for ($i = 0; $i < 10; $i++) $r->xAdd($key('stream'), '*', ['i' => $i]);
check($r->xGroup('CREATE', $key('stream'), 'g', '0'), 'xgroup');
$entries = $r->xReadGroup('g', 'c', [$key('stream') => '>'], 4)[$key('stream')];
check(count($entries) === 4, 'xreadgroup');
check($r->xAck($key('stream'), 'g', array_keys($entries)) === 4, 'xack');
check($r->xLen($key('stream')) === 10, 'xlen');
echo "ok streams\n";

if ($cluster) {
    $spread = [];
    for ($i = 0; $i < 100; $i++) $spread["$name:$i"] = "$i";
    check($r->mSet($spread) && $r->mGet(array_keys($spread)) === array_values($spread), 'slots');
    echo "ok slots\n";
}

// As users do: fifty times in five seconds. phpredis answers false after NOQUORUM, and throws after other errors.
function again($r, $run, &$unsure) {
    for ($tries = 1;; $tries++) {
        try {
            $r->clearLastError();
            $got = $run();
            $error = $r->getLastError();
            if ($error === null) return $got;
        } catch (RedisException | RedisClusterException $e) {
            $error = $e->getMessage();
        }
        check($tries < 50 && preg_match('/^(NOQUORUM|TRYAGAIN|read error on connection|Connection (lost|closed)|socket error|Error processing response|Can\'t communicate|Timed out attempting)/', $error), $error);
        $unsure++;
        usleep(100000);
    }
}

// Writes of several kinds over all slots while the node dies, each acknowledged one read back; see killed.mjs.
$killed = getenv('CLIENT_KILLED');
if ($killed) {
    [$n, $list, $other, $began] = [0, 0, 0, null];
    $script = "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])";
    for ($i = $after = 0; $after < 600; $i++) {
        if (file_exists($killed)) {
            $after++;
            $began ??= $i;
        }
        again($r, fn() => $r->set("$name:k:$i", $i), $other);
        again($r, fn() => $r->incr("$name:n"), $n);
        again($r, fn() => $r->rPush("$name:list:" . $i % 16, $i), $list);
        again($r, fn() => $r->eval($script, ["$name:h", $i, $i], 1), $other);
        if ($i + 1 === 300) echo "half\n";
        clearstatcache();
    }
    for ($k = 0; $k < $i; $k++) check(again($r, fn() => $r->get("$name:k:$k"), $other) === "$k", "key $k");
    $counted = (int)again($r, fn() => $r->get("$name:n"), $other);
    $pushed = [];
    for ($k = 0; $k < 16; $k++) $pushed = array_merge($pushed, again($r, fn() => $r->lRange("$name:list:$k", 0, -1), $other));
    check(count(array_unique($pushed)) === $i, 'pushes were lost');
    check(again($r, fn() => $r->hLen("$name:h"), $other) === $i, 'hash');
    check($counted >= $i, "$counted were counted of $i");
    if (!$cluster) {                // which sends again by itself
        check($counted <= $i + $n, "$counted were counted of $i, $n unsure");
        check(count($pushed) <= $i + $list, count($pushed) . " were pushed of $i, $list unsure");
    }
    printf("ok survived: %d writes, %d after the kill, %d tried again\n", 4 * $i, 4 * ($i - $began), $n + $list + $other);
}
