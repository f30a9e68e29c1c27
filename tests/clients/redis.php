<?php
// phpredis against one port: PROGRAM HOST PORT PREFIX.
[, $host, $port, $name] = $argv;
$key = fn($part) => '{' . $name . '}:' . $part;
function check($ok, $what) { if (!$ok) { fwrite(STDERR, "failed: $what\n"); exit(1); } }
$open = function () use ($host, $port) {
    $r = new Redis();
    check($r->connect($host, (int)$port, 10.0), 'connect');
    $r->setOption(Redis::OPT_READ_TIMEOUT, 20);
    return $r;
};
$r = $open();

check($r->ping() == true, 'ping');
check($r->set($key('a'), "\x00\xff binary") && $r->get($key('a')) === "\x00\xff binary", 'set and get');
check($r->hMSet($key('h'), ['f' => 1, 'g' => 2]) && $r->hGetAll($key('h')) === ['f' => '1', 'g' => '2'], 'hash');
check($r->setex($key('e'), 100, 'x') && $r->ttl($key('e')) > 90, 'ttl');
echo "ok connection\n";

$p = $r->multi(Redis::PIPELINE);
for ($i = 0; $i < 1000; $i++) $p->incr($key('n'));
check($p->exec() === range(1, 1000), 'pipeline');
echo "ok pipelining\n";

$r->watch($key('w'));
check($r->multi()->set($key('w'), 'mine')->get($key('w'))->exec() === [true, 'mine'], 'exec');
$r->watch($key('w'));
$open()->set($key('w'), 'other');
check($r->multi()->set($key('w'), 'lost')->exec() === false, 'watch');
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
} catch (RedisException $e) {
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
