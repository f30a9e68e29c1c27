#include "types/stream_collection.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "../effort.h"
#include "../record/random_effects.h"

using namespace gyre;

namespace {

struct Element {
  Version version;
  bool tombstone = false;
  std::string payload;
};
using Model = std::map<std::string, Element>;

bool merge_model(Model& m, const Change& c, bool keep) {
  const auto at = m.find(std::string(c.id));
  if (at != m.end() && at->second.version >= c.version) return false;
  if (c.tombstone && !keep) return at != m.end() && (m.erase(at), true);
  m[std::string(c.id)] = {c.version, c.tombstone, std::string(c.tombstone ? "" : c.payload)};
  return true;
}

void check_entries(const StreamCollection& s, const Model& model) {
  std::vector<StreamId> ids;
  for (const auto& [id, e] : model) {
    if (stream_element::is_entry(id) && !e.tombstone)
      ids.push_back(decode_stream_id(std::string_view(id).substr(1)));
  }
  REQUIRE(s.length() == ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    REQUIRE(bool(s.at(i).id() == ids[i]));
    REQUIRE(s.rank(ids[i]) == i);
    REQUIRE(s.rank(*ids[i].next()) == i + 1);
    REQUIRE(s.entry(ids[i]).has_value());
  }
}

// Which consumer has what pending agrees with the pending entries themselves.
void check_pending(const StreamCollection& s, const Model& model) {
  for (const std::string group : {"", "g"}) {
    const std::string prefix = stream_element::prefix_of(stream_element::pending, group);
    std::map<std::string, std::set<StreamId>, std::less<>> expected;
    for (const auto& [id, e] : model) {
      if (!id.starts_with(prefix) || id.size() != prefix.size() + stream_id_bytes || e.tombstone)
        continue;
      expected[std::string(StreamDelivery::decode(e.payload).consumer)].insert(
          decode_stream_id(std::string_view(id).substr(prefix.size())));
    }
    const StreamPending* pending = s.pending(group);
    REQUIRE((pending ? pending->consumers().size() : 0) == expected.size());
    for (const auto& [name, ids] : expected) {
      REQUIRE(pending->count_of(name) == ids.size());
      StreamWalk walk(pending->of(name)->at(0));
      for (const StreamId id : ids) {
        REQUIRE(bool(walk.id() == id));
        walk.next();
      }
    }
  }
}

void check_same(const StreamCollection& s, const Model& model) {
  std::size_t seen = 0, live = 0;
  s.for_each([&](const ElementView& e) {
    const auto at = model.find(std::string(e.id));
    REQUIRE(bool(at != model.end()));
    REQUIRE(bool(e.cell.version == at->second.version));
    REQUIRE(e.cell.tombstone == at->second.tombstone);
    REQUIRE(e.cell.stored == at->second.payload);
    Cell found;
    REQUIRE(s.find(e.id, found));
    REQUIRE(bool(found.version == e.cell.version));
    ++seen;
    live += !e.cell.tombstone;
    return true;
  });
  REQUIRE(seen == model.size());
  REQUIRE(s.live() == live);
  REQUIRE(s.tombstones() == seen - live);
  check_entries(s, model);
  check_pending(s, model);
}

}  // namespace

TEST_CASE("stream collection: as a map of its elements, with its indexes") {
  Random random(7);
  for (int round = 0; round < 40; ++round) {
    Slabs slabs;
    {
      StreamCollection s(slabs);
      Model model;
      const bool keep = round % 2 == 0;
      for (std::uint64_t step = 1; step <= 200; ++step) {
        const std::string id = test::stream_id(random), payload = test::stream_payload(random);
        Change c{id, {random.below(300) + 1}, {}, random.below(3) == 0, payload};
        const std::uint64_t kind = random.below(40);
        if (kind == 0) {
          const Version floor{random.below(step) + 1};
          s.drop_below(floor, [&](std::string_view gone, bool) {
            REQUIRE(model.erase(std::string(gone)) == 1);
          });
          for (const auto& [left, e] : model) REQUIRE(bool(e.version > floor));
        } else if (kind == 1) {
          for (auto at = model.begin(); at != model.end();) {
            if (!at->second.tombstone) {
              ++at;
              continue;
            }
            s.drop_tombstone(at->first);
            at = model.erase(at);
          }
        } else {
          const bool taken = merge_model(model, c, keep);
          REQUIRE(s.merge(c, keep).taken == taken);
        }
        check_same(s, model);
      }
    }
  }
}

TEST_CASE("stream collection: what is in the way of an id does not count for its rank") {
  Slabs slabs;
  StreamCollection s(slabs);
  char id[stream_element::entry_bytes];
  for (std::uint64_t i = 1; i <= 5000; ++i)
    s.merge({stream_element::put_entry(id, {i, i % 3}), {i}, {}, false, "payload"}, true);
  for (std::uint64_t i = 1; i <= 4000; ++i)
    s.merge({stream_element::put_entry(id, {i, i % 3}), {i + 1}, {}, true, {}}, true);
  CHECK(s.length() == 1000);
  CHECK(s.rank({3000, 0}) == 0);
  CHECK(bool(s.at(0).id() == StreamId{4001, 4001 % 3}));
  CHECK(s.rank({4501, 0}) == 500);
  CHECK(bool(s.head().last == StreamId{5000, 2}));
  // About fifteen bytes beside the payload.
  CHECK(s.bytes() < 5000 * 30);
}

TEST_CASE("stream collection: a copy takes when consumers were seen, also what no write says") {
  Slabs slabs;
  StreamCollection from(slabs), to(slabs);
  const std::string known = stream_element::of_consumer("g", "c"),
                    gone = stream_element::of_consumer("g", "d");
  for (StreamCollection* s : {&from, &to}) {
    s->merge({known, {1}, {}, false, encode_seen(100)}, true);
    s->merge({gone, {1}, {}, s == &to, encode_seen(100)}, true);
  }
  from.note_seen("g", "c", 250);
  from.note_seen("g", "d", 260);
  to.take_seen(from);
  CHECK(to.consumer("g", "c") == 250);
  CHECK(!to.consumer("g", "d"));
  StreamCollection empty(slabs);
  to.take_seen(empty);
  CHECK(to.consumer("g", "c") == 250);
}
