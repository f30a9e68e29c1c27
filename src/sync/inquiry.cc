#include "sync/inquiry.h"

#include <algorithm>

namespace gyre {
namespace {

constexpr std::int64_t timeout_ms = 2000;
constexpr std::int64_t look_again_ms = 1200;
constexpr std::size_t slots_in_question = 2048;

using Elements = std::map<std::pair<std::string_view, std::uint64_t>, Version>;

Elements elements_of(const Effect& e) {
  Elements out;
  for (const Change& c : e.changes) {
    if (c.version > e.floor) out[{c.id, c.sum.bits}] = c.version;
  }
  return out;
}

// What of `from` is newer than in `to`.
std::size_t newer(const Elements& from, const Elements& to, Version floor_of_to) {
  return static_cast<std::size_t>(std::count_if(from.begin(), from.end(), [&](const auto& e) {
    const auto at = to.find(e.first);
    return e.second > (at == to.end() ? floor_of_to : at->second);
  }));
}

}  // namespace

CopyDifference compare_copies(const Effect& first, const Effect& second) {
  const Elements a = elements_of(first), b = elements_of(second);
  CopyDifference d;
  d.lacks = newer(a, b, second.floor) + (first.floor > second.floor ? 1 : 0) +
            (first.expiry.version > second.expiry.version ? 1 : 0);
  d.ahead = newer(b, a, first.floor) + (second.floor > first.floor ? 1 : 0) +
            (second.expiry.version > first.expiry.version ? 1 : 0);
  return d;
}

// ---- one record

void Inquiries::ask_record(Slot slot, DbIndex db, std::string_view key, std::uint64_t digest,
                           std::function<void(std::vector<Copy>&&)> done) {
  const std::uint64_t id = new_id();
  OfRecord& q = records_[id];
  q.at = clock_.steady_ms();
  q.done = std::move(done);
  for (const NodeIndex peer : host_.replicas(slot)) {
    if (peer == self_) continue;
    Copy& c = q.copies.emplace_back();
    c.peer = peer;
    if (!host_.reachable(peer)) {
      c.heard = Heard::unreachable;
      continue;
    }
    ++q.left;
    const Fetch m{
        .id = id, .from_shard = shard_.value, .db = db.value, .key = key, .digest = digest};
    put_message(host_.to_peer(peer, false), host_.thread_of(peer, slot), m);
  }
  if (q.left == 0) end_record(id);
}

bool Inquiries::on_fetch_answer(NodeIndex from, const FetchAnswer& m) {
  const auto at = records_.find(m.id);
  if (at == records_.end()) return false;
  for (Copy& c : at->second.copies) {
    if (c.peer != from || c.heard != Heard::silent) continue;
    c.heard = Heard::answered;
    c.what = m.what;
    c.record = m.record;
    if (--at->second.left == 0) end_record(m.id);
    return true;
  }
  return true;
}

void Inquiries::end_record(std::uint64_t id) {
  auto node = records_.extract(id);
  if (!node.empty()) node.mapped().done(std::move(node.mapped().copies));
}

// ---- slots

void Inquiries::ask_slots(NodeIndex peer, const std::vector<Slot>& slots,
                          std::function<void(Slots&&)> done) {
  const std::uint64_t id = new_id();
  OfSlots& q = slots_[id];
  q.result.peer = peer;
  q.done = std::move(done);
  q.at = clock_.steady_ms();
  q.result.heard = host_.reachable(peer) ? Heard::answered : Heard::unreachable;
  if (q.result.heard == Heard::unreachable || slots.empty()) return end_slots(id);
  std::vector<std::uint16_t> numbers;
  for (const Slot s : slots) numbers.push_back(s.value);
  send_digests(id, q, numbers);
}

void Inquiries::send_digests(std::uint64_t inquiry, OfSlots& q,
                             const std::vector<std::uint16_t>& slots) {
  std::map<std::uint16_t, Compare> by_thread;
  const auto flush = [&](std::uint16_t thread, Compare& m) {
    m.id = new_id();
    m.from_shard = shard_.value;
    questions_.emplace(m.id, inquiry);
    ++q.left;
    put_message(host_.to_peer(q.result.peer, false), thread, m);
    m.slots.clear();
  };
  for (const std::uint16_t s : slots) {
    const std::uint16_t thread = host_.thread_of(q.result.peer, {s});
    Compare& m = by_thread[thread];
    m.slots.push_back({s, space_.repaired({s}), space_.slot_digest({s})});
    if (m.slots.size() >= slots_in_question) flush(thread, m);
  }
  for (auto& [thread, m] : by_thread) {
    if (!m.slots.empty()) flush(thread, m);
  }
}

bool Inquiries::on_compare_answer(NodeIndex from, const CompareAnswer& m) {
  const auto question = questions_.find(m.id);
  if (question == questions_.end()) return false;
  const std::uint64_t id = question->second;
  const auto at = slots_.find(id);
  if (at == slots_.end() || at->second.result.peer != from) return true;
  questions_.erase(question);
  OfSlots& q = at->second;
  for (const SlotDifference& d : m.slots) {
    if (!q.second_look) ++q.result.compared;
    if (!d.same) q.result.differ.push_back(d.slot);
  }
  if (--q.left > 0) return true;
  if (q.second_look || q.result.differ.empty()) {
    end_slots(id);
  } else {
    q.again_at = clock_.steady_ms() + look_again_ms;
  }
  return true;
}

void Inquiries::end_slots(std::uint64_t id) {
  auto node = slots_.extract(id);
  if (node.empty()) return;
  std::erase_if(questions_, [id](const auto& e) { return e.second == id; });
  std::sort(node.mapped().result.differ.begin(), node.mapped().result.differ.end());
  node.mapped().done(std::move(node.mapped().result));
}

// ---- whoever does not answer

void Inquiries::peer_down(NodeIndex peer) {
  std::vector<std::uint64_t> over;
  for (auto& [id, q] : records_) {
    for (Copy& c : q.copies) {
      if (c.peer != peer || c.heard != Heard::silent) continue;
      c.heard = Heard::unreachable;
      if (--q.left == 0) over.push_back(id);
    }
  }
  for (const std::uint64_t id : over) end_record(id);
  over.clear();
  for (auto& [id, q] : slots_) {
    if (q.result.peer != peer) continue;
    q.result.heard = Heard::unreachable;
    over.push_back(id);
  }
  for (const std::uint64_t id : over) end_slots(id);
}

void Inquiries::tick() {
  if (waiting() == 0) return;
  const SteadyMs now = clock_.steady_ms();
  std::vector<std::uint64_t> over;
  for (const auto& [id, q] : records_) {
    if (now - q.at > timeout_ms) over.push_back(id);
  }
  for (const std::uint64_t id : over) end_record(id);
  over.clear();
  for (auto& [id, q] : slots_) {
    if (q.again_at > 0 && now >= q.again_at) {
      q.again_at = 0;
      q.second_look = true;
      q.at = now;
      std::vector<std::uint16_t> again;
      again.swap(q.result.differ);
      send_digests(id, q, again);
    } else if (q.left > 0 && now - q.at > timeout_ms) {
      q.result.heard = Heard::silent;
      over.push_back(id);
    }
  }
  for (const std::uint64_t id : over) end_slots(id);
}

}  // namespace gyre
