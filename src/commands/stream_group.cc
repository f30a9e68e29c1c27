#include "commands/stream_group.h"

namespace gyre::streams {
namespace {

// How old what replicas know of a consumer may be before a write tells them anew.
constexpr UnixMs seen_step_ms = 1000;

}  // namespace

std::optional<Pending> GroupWrite::pending(StreamId id) const {
  if (const auto changed = pending_.find(id); changed != pending_.end()) return changed->second;
  const StreamPending* p = stream_.pending(group_);
  Cell cell;
  if (!p || !p->all().find(id, cell) || !cell.live()) return std::nullopt;
  const StreamDelivery d = StreamDelivery::decode(cell.stored);
  return Pending{d.at, d.count, d.consumer};
}

void GroupWrite::see_consumer(std::string_view name) {
  seen_ = name;
}

void GroupWrite::commit() {
  Write w(ctx_, key_, TypeId::stream);
  if (state_) w.put(w.keep(stream_element::of_group(group_)), w.keep(state_->encode()));
  std::string id = stream_element::prefix_of(stream_element::pending, group_);
  const std::size_t prefix = id.size();
  for (const auto& [entry, delivery] : pending_) {
    const StreamIdBytes bytes = encode_stream_id(entry);
    id.resize(prefix);
    id.append(bytes.data(), bytes.size());
    if (!delivery) {
      w.remove(w.keep(id));
    } else {
      const StreamDelivery d{delivery->at, delivery->count, delivery->consumer};
      w.put(w.keep(id), w.keep(d.encode()));
    }
  }
  bool created = false;
  if (seen_) {
    const auto before = stream_.consumer(group_, *seen_);
    const std::string element = stream_element::of_consumer(group_, *seen_);
    Cell cell;
    const bool known = stream_.find(element, cell) && cell.live();
    created = !known;
    const bool stale = known && ctx_.now - decode_seen(cell.stored) >= seen_step_ms;
    if (!known || (stale && !w.empty())) {
      w.put(w.keep(element), w.keep(encode_seen(ctx_.now)));
    } else if (before) {
      static_cast<StreamCollection*>(key_.collection())->note_seen(group_, *seen_, ctx_.now);
    }
  }
  if (!w.empty()) w.commit(created ? event::stream : 0, "xgroup-createconsumer");
}

std::optional<StreamGroup> group_of(CommandContext& ctx, const KeyRef& key, std::string_view name) {
  const auto group = key.exists() ? of(key)->group(name) : std::nullopt;
  if (!group) {
    ctx.reply.error(Error(Errc::no_group, "No such key '" + std::string(key.key) +
                                              "' or consumer group '" + std::string(name) + "'"));
  }
  return group;
}

}  // namespace gyre::streams
