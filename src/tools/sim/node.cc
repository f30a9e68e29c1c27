#include "tools/sim/node.h"

#include <algorithm>

#include "base/hash.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "shard/loader.h"
#include "shard/rows.h"
#include "tools/sim/heart.h"
#include "tools/sim/worker.h"

namespace gyre::sim {
namespace {

constexpr std::int64_t clock_wait_ms = 5000, clock_near_ms = 100;

NodeIndex index_of(NodeId n) {
  return {static_cast<std::uint16_t>(n)};
}

}  // namespace

SimNode::SimNode(World& world, Network& network, RingPtr ring, NodeId self, const Options& options,
                 EffectWatch* watch, Answer answer)
    : world_(world),
      network_(network),
      ring_(std::move(ring)),
      self_(self),
      name_(ring_->node(index_of(self)).name),
      options_(options),
      watch_(watch),
      answer_(std::move(answer)),
      clock_(world) {
  command_options_.memory.defrag.ignore_bytes = 1;  // so few keys would never be moved
  network_.on_arrival(self_, [this](Arrival&& a) {
    if (!alive()) return false;
    arrived(std::move(a));
    return true;
  });
}

SimNode::~SimNode() = default;

// ---- the process

void SimNode::start() {
  ++life_;
  metrics_.reset();
  serving_ = outdated_told_ = disk_failing_ = files_.failing = false;
  started_ = clock_.steady_ms();
  next_accept_ = 0;
  identity_ = std::make_unique<Identity>();
  const auto opened = identity_->open({.name = name_,
                                       .cluster = "sim",
                                       .self = index_of(self_),
                                       .index = ring_->node(index_of(self_)).index,
                                       .nodes = ring_->nodes().size(),
                                       .boot_id = std::to_string(boot_)},
                                      &files_);
  GYRE_ASSERT(opened);
  heart_ = std::make_unique<SimHeart>(*this);
  store_ = std::make_unique<MemoryStore>(disk_, options_.shards, *this, options_.sync);
  for (std::uint16_t s = 0; s < options_.shards; ++s)
    workers_.push_back(std::make_unique<SimWorker>(*this, s));
  load();
  // As in Server::start().
  const bool kept = identity_->same_boot() || options_.sync == SyncMode::always;
  const bool known = identity_->settled() && kept;
  world_.log(name_ + " starts" + (known ? "" : ", may have lost something"));
  Version highest = Version::at_ms(bound_);
  for (auto& w : workers_) highest = std::max(highest, w->space().clock().peek(0));
  for (auto& w : workers_) {
    w->engine().set_known(known);
    w->space().clock().see(highest);
    w->space().clock().set_started(w->space().clock().peek(time().wall_ms()));
    w->begin();
  }
  heart_->begin(bound_ == 0 ? 0 : bound_ - clock_bound_ahead_ms - clock_.wall_ms());
  if (options_.sync == SyncMode::everysec) later(second, [this] { sync_turn(); });
}

void SimNode::load() {
  const std::string hints_first(1, Hints::row_prefix);
  const auto check = [this](const Result<void>& r) {
    if (!r) world_.violation(name_, "recovery: " + std::string(r.error().text()));
  };
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    SimWorker& w = *workers_[i];
    Loader loader(w.space());
    RowReader reader(loader);
    Result<void> bad;
    const auto first =
        static_cast<std::uint32_t>((i * slots_total + workers_.size() - 1) / workers_.size());
    const auto last =
        static_cast<std::uint32_t>(((i + 1) * slots_total + workers_.size() - 1) / workers_.size());
    std::string from, to;
    put_be16(from, static_cast<std::uint16_t>(first));
    if (last < slots_total)
      put_be16(to, static_cast<std::uint16_t>(last));
    else
      to = hints_first;
    check(store_->scan(from, to, [&](std::string_view key, std::string_view value) {
      bad = reader.row(key, value);
      return static_cast<bool>(bad);
    }));
    check(bad);
    reader.finish();
    check(store_->scan(hints_first, std::string(1, '\xff'),
                       [&](std::string_view key, std::string_view value) {
                         // | fe | kind | peer be16 | slot be16 | ...
                         Reader in(key.substr(4));
                         if (shard_of({in.be16()}) != i) return true;
                         bad = w.engine().hints().load_row(key, value);
                         return static_cast<bool>(bad);
                       }));
    check(bad);
  }
}

void SimNode::kill(bool power) {
  world_.log(name_ + (power ? " loses power" : " is killed"));
  ++life_;
  network_.close_all_of(self_);
  workers_.clear();
  heart_.reset();
  store_.reset();
  identity_.reset();
  if (power) {
    ++boot_;
    disk_.power_cut(world_.random.below(disk_.unsynced_writes() + 1));
  }
  thread_of_.clear();
  held_.clear();
  walks_.clear();
  disk_due_ = paused_ = serving_ = false;
  slow_turn_ = 0;
}

void SimNode::wipe() {
  GYRE_ASSERT(!alive());
  world_.log(name_ + " has lost its disk");
  disk_ = MemoryDisk();
  files_.wipe();
  bound_ = 0;
}

void SimNode::pause(bool on) {
  if (!alive() || paused_ == on) return;
  world_.log(name_ + (on ? " stands still" : " goes on"));
  if (on)
    paused_ = true;
  else
    go_on();
}

void SimNode::go_on() {
  paused_ = false;
  std::vector<std::function<void()>> held;
  held.swap(held_);
  const std::uint64_t life = life_;
  for (auto& f : held) {
    if (life != life_) return;
    // One of them may stand still again.
    if (paused_)
      held_.push_back(std::move(f));
    else
      f();
  }
}

void SimNode::stall(Us time, std::function<void()> rest) {
  world_.log(name_ + " has a slow turn of " + std::to_string(time / ms) + " ms");
  paused_ = true;
  world_.after(time, [this, life = life_, rest = std::move(rest)] {
    if (life != life_) return;
    rest();
    go_on();
  });
}

void SimNode::later(Us delay, std::function<void()> f) {
  world_.after(delay, [this, life = life_, f = std::move(f)]() mutable {
    if (life != life_) return;
    if (paused_) {
      held_.push_back(std::move(f));
    } else {
      f();
    }
  });
}

// What Server::tick() does.
void SimNode::tick() {
  heart_->tick();
  if (serving_ && time().wall_ms() + clock_bound_ahead_ms / 2 > bound_)
    bound_ = time().wall_ms() + clock_bound_ahead_ms;
  settle_identity();
  if (serving_) return;
  std::size_t up = 1;
  for (NodeId peer = 0; peer < ring_->nodes().size(); ++peer)
    up += workers_[0]->engine().peer(index_of(peer)).up;
  const bool waited = clock_.steady_ms() - started_ > clock_wait_ms;
  const bool clocks =
      (up >= ring_->nodes().size() / 2 + 1 && heart_->vitals().guard().compared()) || waited;
  const bool near = time().wall_ms() + clock_near_ms >= bound_ || waited;
  if (!identity_->settled() || !clocks || !near) return;
  serving_ = true;
  for (auto& w : workers_) w->engine().set_serving(true);
  world_.log(name_ + " serves");
}

const Clock& SimNode::time() const {
  return heart_->vitals().clock();
}

UnixMs SimNode::stamp_ms() const {
  return heart_->stamp_ms();
}

BatchHeader SimNode::header(bool answers) const {
  BatchHeader h;
  h.epoch = ring_->epoch();
  h.ring_hash = ring_->content_hash();
  h.wall_ms = time().wall_ms();
  h.incarnation = identity_->incarnation();
  h.threads = options_.shards;
  h.serving = serving_;
  h.unfit = heart_->vitals().unfit();
  h.answers = answers;
  return h;
}

void SimNode::tell_all(const std::function<void(SimWorker&)>& task) {
  task(*workers_[0]);
  for (std::size_t i = 1; i < workers_.size(); ++i)
    workers_[i]->mail([w = workers_[i].get(), task] { task(*w); });
}

void SimNode::settle_identity() {
  const auto send = [this](NodeIndex to, std::uint16_t shard, const IdentityMessage& m) {
    send_identity(to, shard, m);
  };
  if (identity_->step(clock_.steady_ms(), send)) {
    world_.log(name_ + " has taken incarnation " + std::to_string(identity_->incarnation()));
    for (auto& w : workers_) {
      w->space().clock().set_node(identity_->clock_node());
      w->space().clock().set_started(w->space().clock().peek(time().wall_ms()));
    }
  }
  if (identity_->outdated() && !std::exchange(outdated_told_, true)) {
    for (auto& w : workers_) w->engine().set_known(false);
  }
}

void SimNode::send_identity(NodeIndex to, std::uint16_t shard, const IdentityMessage& message) {
  Engine& engine = workers_[0]->engine();
  std::visit(
      [&](const auto& m) {
        if (is_answer(m.kind) || engine.peer(to).up) engine.send(to, shard, m);
      },
      message);
}

// ---- the disk

bool SimNode::submit(ShardIndex shard, std::uint64_t turn, StoreBatch&& rows) {
  if (!store_->submit(shard, turn, std::move(rows))) return false;
  if (!disk_due_) {
    disk_due_ = true;
    later(world_.draw(disk_low_, disk_high_), [this] { disk_turn(); });
  }
  return true;
}

void SimNode::disk_turn() {
  disk_due_ = false;
  const bool written = store_->step();
  // What a failing disk did not take is tried again.
  if (!written && disk_failing_) {
    disk_due_ = true;
    later(50 * ms, [this] { disk_turn(); });
  }
  for (auto& w : workers_) w->wake();
}

void SimNode::sync_turn() {
  store_->sync();
  later(second, [this] { sync_turn(); });
}

void SimNode::fail_disk(bool on) {
  if (!alive()) return;
  world_.log(name_ + (on ? "'s disk fails" : "'s disk works again"));
  disk_failing_ = files_.failing = on;
  store_->fail_writes(on ? std::optional<Error>(Error(Errc::io, "No space left on device"))
                         : std::nullopt);
}

void SimNode::persisted(ShardIndex shard, std::uint64_t turn) noexcept {
  workers_[shard.value]->store_persisted = turn;
}

void SimNode::store_failing(ShardIndex shard, const Error&) noexcept {
  workers_[shard.value]->disk_failing = true;
}

void SimNode::store_recovered(ShardIndex shard) noexcept {
  workers_[shard.value]->disk_failing = false;
}

// ---- clients and connections

void SimNode::arrived(Arrival&& a) {
  if (heart_->takes(a)) {
    heart_->arrived(std::move(a));
    return workers_[0]->wake();
  }
  std::size_t thread = 0;
  if (a.owner) {
    const auto at = thread_of_.find(a.connection);
    if (at == thread_of_.end()) return;
    thread = at->second;
  } else {
    const auto [at, fresh] = thread_of_.emplace(a.connection, next_accept_);
    if (fresh) next_accept_ = (next_accept_ + 1) % workers_.size();
    thread = at->second;
  }
  workers_[thread]->arrived(std::move(a));
}

void SimNode::command(Command&& c) {
  GYRE_ASSERT(alive());
  const std::string& name = c.commands[0][0];
  if (name == "FLUSHALL" || name == "FLUSHDB" || name == "SCAN" || name == "KEYS" ||
      name == "DBSIZE") {
    later(world_.draw(10, 150), [this, c = std::move(c)] { walk(c); });
    return;
  }
  SimWorker& w = *workers_[c.connection % workers_.size()];
  w.command(std::move(c));
}

void SimNode::walk(const Command& c) {
  WalkRequest walk;
  walk.ticket = Ticket{.connection = c.connection, .id = c.id};
  const std::vector<std::string>& words = c.commands[0];
  walk.what = words[0] == "SCAN"     ? WalkKind::scan
              : words[0] == "KEYS"   ? WalkKind::keys
              : words[0] == "DBSIZE" ? WalkKind::count
                                     : WalkKind::flush;
  walk.all_dbs = words[0] == "FLUSHALL";
  walk.db = c.db;
  walk.write_level = c.levels.write;
  if (walk.what == WalkKind::scan) {
    walk.place = std::stoull(words[1]);
    walk.count = static_cast<std::uint32_t>(std::stoul(words[3]));
  }
  if (walk.what == WalkKind::keys) walk.pattern = words[1];
  WalkJoin& join = walks_[c.id];
  join.what = walk.what;
  join.left = workers_.size();
  for (auto& w : workers_) {
    w->mail([worker = w.get(), walk] { worker->engine().walk(WalkRequest(walk)); });
  }
}

std::string SimNode::read(DbIndex db, const std::vector<std::string>& words) {
  const std::vector<std::string_view> args(words.begin(), words.end());
  std::string out;
  const Slot slot = key_slot(args[1]);
  if (!worker_of(slot).engine().read_local({find_command(Args(args)), Args(args), db}, slot, 2,
                                           out))
    return "(holds no such slot)";
  return out;
}

std::string SimNode::waiting() {
  std::size_t operations = 0, hints = 0, marks = 0;
  for (auto& w : workers_) {
    operations += w->engine().operations_waiting();
    hints += w->engine().hints().pending();
    marks += w->engine().hints().marks_total();
  }
  if (operations + hints + marks == 0) return {};
  return std::to_string(operations) + " operations and " + std::to_string(hints) + " hints and " +
         std::to_string(marks) + " marks";
}

bool SimNode::links_up() const {
  return std::all_of(workers_.begin(), workers_.end(), [](const auto& w) { return w->links_up(); });
}

bool SimNode::whole() const {
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const auto& w) { return w->engine().slots_differing() == 0; });
}

}  // namespace gyre::sim
