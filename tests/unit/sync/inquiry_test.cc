// What other replicas hold, asked to be shown.
#include "sync/inquiry.h"

#include <array>
#include <optional>
#include <string>

#include <doctest/doctest.h>

#include "quiet_host.h"

using namespace gyre;
using namespace gyre::test;

namespace {

constexpr std::array<NodeIndex, 3> all{NodeIndex{0}, NodeIndex{1}, NodeIndex{2}};

struct Host final : QuietHost {
  explicit Host(const Clock& clock)
      : space(options()), inquiries({0}, {0}, space, clock, *this, 100) {}
  std::string& to_peer(NodeIndex peer, bool) override { return out[peer.value]; }
  bool reachable(NodeIndex peer) const override { return up[peer.value]; }
  std::span<const NodeIndex> replicas(Slot) const override { return all; }

  // The question that waits for the peer.
  template <class M>
  std::optional<M> question(NodeIndex peer) {
    std::string batch;
    put_header(batch, BatchHeader{});
    batch += std::exchange(out[peer.value], {});
    batches.push_back(batch);
    BatchReader in(batches.back());
    BatchHeader h;
    REQUIRE(in.header(h));
    Envelope e;
    M m;
    if (!in.next(e) || e.kind != M::kind || !decode_message(e, m)) return std::nullopt;
    return m;
  }

  std::array<std::string, 3> out;
  std::array<bool, 3> up{true, true, true};
  std::deque<std::string> batches;  // what questions view
  KeySpace space;
  Inquiries inquiries;
};

Version at(std::uint64_t bits) {
  return {bits};
}

Change change(std::string_view id, std::uint64_t bits) {
  Change c;
  c.id = id;
  c.version = at(bits);
  return c;
}

CompareAnswer answer_of(const Compare& m, bool same) {
  CompareAnswer a;
  a.id = m.id;
  for (const SlotDigest& s : m.slots) {
    SlotDifference d;
    d.slot = s.slot;
    d.same = same;
    a.slots.push_back(d);
  }
  return a;
}

}  // namespace

TEST_CASE("inquiry: who lacks what of a record") {
  Effect a, b;
  a.changes = {change("x", 5), change("y", 6)};
  b.changes = {change("x", 7), change("z", 2)};
  CHECK(compare_copies(a, b).lacks == 1);  // y
  CHECK(compare_copies(a, b).ahead == 2);  // x and z
  a.floor = at(3);                         // covers z
  CHECK(compare_copies(a, b).lacks == 2);
  CHECK(compare_copies(a, b).ahead == 1);
  CHECK(compare_copies(a, a).lacks + compare_copies(a, a).ahead == 0);
  b.expiry = {.at_ms = 10, .version = at(9)};
  CHECK(compare_copies(a, b).ahead == 2);
}

TEST_CASE("inquiry: a record's copies, each peer once, the unreachable and the silent told apart") {
  TestClock clock;
  Host host(clock);
  host.up[2] = false;
  std::optional<std::vector<Inquiries::Copy>> told;
  const auto done = [&](std::vector<Inquiries::Copy>&& copies) { told = std::move(copies); };
  host.inquiries.ask_record({3}, {0}, "k", 77, done);
  const auto m = host.question<Fetch>({1});
  REQUIRE(m.has_value());
  CHECK(m->digest == 77);
  CHECK(host.out[2].empty());
  CHECK_FALSE(host.inquiries.on_fetch_answer({1}, {.id = m->id + 1, .what = {}, .record = {}}));
  CHECK(host.inquiries.on_fetch_answer({2}, {.id = m->id, .what = {}, .record = {}}));
  CHECK_FALSE(told.has_value());
  CHECK(host.inquiries.on_fetch_answer(
      {1}, {.id = m->id, .what = FetchAnswer::What::absent, .record = {}}));
  REQUIRE(told.has_value());
  REQUIRE(told->size() == 2);
  CHECK((*told)[0].what == FetchAnswer::What::absent);
  CHECK((*told)[1].heard == Inquiries::Heard::unreachable);

  told.reset();
  host.inquiries.ask_record({3}, {0}, "k", 0, done);
  clock.now += 2001;
  host.inquiries.tick();
  REQUIRE(told.has_value());
  CHECK((*told)[0].heard == Inquiries::Heard::silent);

  told.reset();
  host.inquiries.ask_record({3}, {0}, "k", 0, done);
  host.inquiries.peer_down({1});
  REQUIRE(told.has_value());
  CHECK((*told)[0].heard == Inquiries::Heard::unreachable);
  CHECK(host.inquiries.waiting() == 0);
}

TEST_CASE("inquiry: slots that differ are looked at twice") {
  TestClock clock;
  Host host(clock);
  for (const bool heals : {true, false}) {
    std::optional<Inquiries::Slots> told;
    host.inquiries.ask_slots({1}, {{2}, {3}}, [&](Inquiries::Slots&& s) { told = std::move(s); });
    const auto first = host.question<Compare>({1});
    REQUIRE(first.has_value());
    CHECK_FALSE(first->leaves);
    CHECK(host.inquiries.on_compare_answer({1}, answer_of(*first, false)));
    CHECK_FALSE(told.has_value());
    host.inquiries.tick();
    CHECK(host.out[1].empty());
    clock.now += 1200;
    host.inquiries.tick();
    const auto second = host.question<Compare>({1});
    REQUIRE(second.has_value());
    CHECK(second->slots.size() == 2);
    CHECK(host.inquiries.on_compare_answer({1}, answer_of(*second, heals)));
    REQUIRE(told.has_value());
    CHECK(told->compared == 2);
    CHECK(told->differ ==
          (heals ? std::vector<std::uint16_t>{} : std::vector<std::uint16_t>{2, 3}));
    CHECK(host.inquiries.waiting() == 0);
  }
}
