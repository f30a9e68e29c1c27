// What one command of a client becomes when it is for more than one shard: parts by slot whose
// answers are joined (MGET), a walk over all shards (SCAN), or a run under the barrier, while the
// other threads stand still.

#include <algorithm>
#include <map>

#include "base/numbers.h"
#include "commands/table.h"
#include "ring/slot.h"
#include "server/join.h"
#include "server/server.h"
#include "server/session.h"
#include "server/worker.h"
#include "server/worker_scripts.h"

namespace gyre {
namespace {

struct ScatterJoin {
  std::size_t left = 0;
  std::int64_t sum = 0;
  std::string error;
  std::vector<std::string> elements;  // gather_array: by the key's place
};

}  // namespace

// ---- parts by slot

void Worker::scatter(Connection& c, const CommandSpec& spec, Args args) {
  const std::size_t step = static_cast<std::size_t>(spec.keys.step);
  if ((args.size() - 1) % step != 0) {
    Reply reply(c.begin(), c.protocol);
    reply.error(wrong_arity(spec));
    return c.end(0);
  }
  std::map<Slot, std::vector<std::size_t>> by_slot;  // argument positions of keys
  for (std::size_t i = 1; i < args.size(); i += step) by_slot[key_slot(args[i])].push_back(i);
  auto join = std::make_shared<ScatterJoin>();
  join->left = by_slot.size();
  join->elements.resize(spec.scatter == Scatter::gather_array ? args.size() : 0);
  if (!server_.alone()) c.note_write(spec, args, c.db);
  const std::uint64_t place = c.reserve();
  const Scatter how = spec.scatter;
  for (const auto& part : by_slot) {
    const Slot slot = part.first;
    const std::vector<std::size_t>& positions = part.second;
    std::vector<std::string_view> words{args[0]};
    for (const std::size_t i : positions) {
      for (std::size_t k = 0; k < step; ++k) words.push_back(args[i + k]);
    }
    Request r;
    r.slot = slot;
    r.protocol = c.protocol;
    r.levels = c.levels_now();
    r.tracking = tracking_of(c);
    r.commands.emplace_back(spec, c.db, Args(words));
    r.ticket = callback_ticket(
        [this, join, positions, how, id = c.id, place](std::string&& reply, std::uint64_t gate) {
          if (reply.starts_with('-')) {
            join->error = std::move(reply);
          } else if (how == Scatter::sum) {
            join->sum += parse_int(std::string_view(reply).substr(1, reply.size() - 3)).value_or(0);
          } else if (how == Scatter::gather_array) {
            const auto parts = reply_elements(reply);
            for (std::size_t i = 0; i < positions.size() && i < parts.size(); ++i)
              join->elements[positions[i]] = parts[i];
          }
          if (--join->left > 0) return;
          Connection* client = find(id);
          if (!client) return;
          std::string out;
          Reply writer(out, client->protocol);
          if (!join->error.empty()) {
            writer.raw(join->error);
          } else if (how == Scatter::sum) {
            writer.integer(join->sum);
          } else if (how == Scatter::all_ok) {
            writer.ok();
          } else {
            writer.array(join->elements.size() - 1);
            for (std::size_t i = 1; i < join->elements.size(); ++i) writer.raw(join->elements[i]);
          }
          client->fill(place, std::move(out), gate);
        });
    submit(std::move(r));
  }
}

// ---- walks

void Worker::join_walk(WalkResult& all, WalkResult&& part, WalkKind what, std::size_t shard) {
  if (what == WalkKind::random) return join_random(all, std::move(part), random_);
  all.failed |= part.failed;
  all.count += part.count;
  all.next = part.next;
  if (what == WalkKind::scan && part.next == 0 && shard + 1 < server_.shards())
    all.next = cursor_of_shard(shard + 1);
  all.keys.insert(all.keys.end(), std::make_move_iterator(part.keys.begin()),
                  std::make_move_iterator(part.keys.end()));
}

WalkResult Worker::walk_all_here(const WalkRequest& request) {
  const bool scan = request.what == WalkKind::scan;
  const std::size_t first = scan ? server_.shard_of(place_of_cursor(request.place)).value : 0;
  const std::size_t last = scan ? first + 1 : server_.shards();
  WalkResult all;
  for (std::size_t i = first; i < last; ++i) {
    WalkResult part;
    server_.worker({static_cast<std::uint16_t>(i)}).engine_->walk_alone(request, part);
    join_walk(all, std::move(part), request.what, i);
  }
  return all;
}

void Worker::walk_all(WalkRequest request, std::function<void(WalkResult&&)> done) {
  struct Joined {
    WalkResult result;
    std::size_t left = 0;
    std::function<void(WalkResult&&)> done;
  };
  auto joined = std::make_shared<Joined>();
  joined->done = std::move(done);
  const std::size_t shards = server_.shards();
  const bool scan = request.what == WalkKind::scan;
  // SCAN goes on in the shard of its place; the others are asked at once.
  const std::size_t first = scan ? server_.shard_of(place_of_cursor(request.place)).value : 0;
  const std::size_t last = scan ? first + 1 : shards;
  joined->left = last - first;
  for (std::size_t i = first; i < last; ++i) {
    const std::uint64_t id = next_callback_++;
    walk_callbacks_.emplace(id, [this, joined, what = request.what, i](WalkResult&& part) {
      join_walk(joined->result, std::move(part), what, i);
      if (--joined->left == 0) joined->done(std::move(joined->result));
    });
    auto copy = std::make_shared<WalkRequest>(request);
    copy->ticket = {.remote = false, .shard = shard_.value, .peer = {}, .connection = 0, .id = id};
    send_mail({static_cast<std::uint16_t>(i)},
              [copy](Worker& w) { w.engine_->walk(std::move(*copy)); });
  }
}

}  // namespace gyre
