#include "membership/settings.h"

#include <deque>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/clock.h"
#include "base/hash.h"

namespace gyre {
namespace {

// Nodes whose links come and go; a message is bytes, and is lost with its link.
struct Nodes {
  struct Message {
    std::size_t from = 0, to = 0;
    std::uint64_t link = 0;
    std::string bytes;
  };
  std::vector<Settings> nodes;
  std::deque<Message> on_the_way;
  std::vector<std::vector<std::uint64_t>> links;  // 0: broken
  std::uint64_t next_link = 1;
  std::size_t delivered = 0;

  explicit Nodes(std::size_t n) : links(n, std::vector<std::uint64_t>(n, 0)) {
    for (std::size_t i = 0; i < n; ++i) nodes.emplace_back(static_cast<std::uint16_t>(8 * i));
  }
  Settings::Send from(std::size_t node) {
    return [this, node](NodeIndex to, const SettingsTold& m) { send(node, to.value, m); };
  }
  void send(std::size_t node, std::size_t to, const SettingsTold& m) {
    if (links[node][to] == 0) return;
    std::string bytes;
    put_message(bytes, 0, m);
    on_the_way.push_back({node, to, links[node][to], std::move(bytes)});
  }
  void tell(std::size_t node, const Setting& change) {
    SettingsTold m;
    const std::vector<Setting> changes{change};
    Settings::tell(changes, 0, m);
    for (std::size_t to = 0; to < nodes.size(); ++to) send(node, to, m);
  }
  void deliver() {
    const Message m = std::move(on_the_way.front());
    on_the_way.pop_front();
    if (links[m.from][m.to] != m.link) return;
    std::string batch;
    put_header(batch, {});
    batch += m.bytes;
    BatchReader reader(batch);
    BatchHeader header;
    Envelope envelope;
    SettingsTold told;
    REQUIRE((reader.header(header) && reader.next(envelope) && decode_message(envelope, told)));
    nodes[m.to].on_told({static_cast<std::uint16_t>(m.from)}, told, from(m.to));
    ++delivered;
  }
  void set_link(std::size_t a, std::size_t b, bool up) {
    links[a][b] = up ? next_link++ : 0;
    if (up) nodes[a].peer_up({static_cast<std::uint16_t>(b)}, from(a));
  }
};

TEST_CASE("settings: nodes whose links come and go agree in the end") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Nodes ring(2 + random.below(4));
    const std::size_t n = ring.nodes.size();
    for (int step = 0; step < 600; ++step) {
      const std::size_t a = random.below(n), b = random.below(n);
      const std::uint64_t what = random.below(20);
      if (what < 3 && a != b) {
        ring.set_link(a, b, random.below(3) > 0);
      } else if (what < 8) {
        const auto kind = static_cast<SettingKind>(1 + random.below(8));  // one that is not known
        const std::string name =
            kind == SettingKind::flushed ? "" : "n" + std::to_string(random.below(4));
        auto value =
            random.below(4) ? std::optional<std::string>(std::to_string(step)) : std::nullopt;
        ring.tell(a, ring.nodes[a].set(kind, name, std::move(value),
                                       static_cast<UnixMs>(1000 + random.below(50))));
      } else if (!ring.on_the_way.empty()) {
        ring.deliver();
      }
    }
    // All links come up anew.
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t b = 0; b < n; ++b) {
        if (a != b) ring.set_link(a, b, true);
      }
    }
    ring.delivered = 0;
    while (!ring.on_the_way.empty()) {
      ring.deliver();
      REQUIRE(ring.delivered < 1000);
    }
    for (const Settings& node : ring.nodes) {
      CHECK(node.digest() == ring.nodes[0].digest());
      CHECK(node.count() == ring.nodes[0].count());
      CHECK(node.bytes() == ring.nodes[0].bytes());
      for (std::uint8_t kind = 1; kind <= 8; ++kind) {
        const auto all = node.all(static_cast<SettingKind>(kind)),
                   first = ring.nodes[0].all(static_cast<SettingKind>(kind));
        REQUIRE(all.size() == first.size());
        for (std::size_t i = 0; i < all.size(); ++i)
          CHECK((all[i].name == first[i].name && all[i].value == first[i].value &&
                 all[i].version == first[i].version));
      }
    }
  }
}

TEST_CASE("settings: a flush takes what is older, wherever it comes from") {
  Settings a(8), b(16);
  const Setting old = a.set(SettingKind::script, "old", "1", 1000);
  const Setting flush = a.set(SettingKind::flushed, "", "", 1000);
  const Setting later = a.set(SettingKind::script, "later", "2", 1000);
  CHECK(a.count() == 2);
  CHECK(b.take(flush));
  CHECK(!b.take(old));
  CHECK(b.take(later));
  CHECK(b.take(old) == false);
  CHECK(a.digest() == b.digest());
  CHECK(b.value(SettingKind::script, "later") == "2");
  CHECK(!b.value(SettingKind::script, "old"));
}

TEST_CASE("settings: who hears of a change stamps above it, however slow its clock") {
  Settings ahead(8), behind(16);
  CHECK(behind.take(ahead.set(SettingKind::option, "o", "theirs", 1'000'000)));
  const Setting own = behind.set(SettingKind::option, "o", "own", 5);
  CHECK(ahead.take(own));
  CHECK(ahead.value(SettingKind::option, "o") == "own");
  CHECK(behind.value(SettingKind::option, "o") == "own");
}

TEST_CASE("settings: all goes in messages of bounded size") {
  Nodes ring(2);
  for (int i = 0; i < 40; ++i)
    ring.nodes[0].set(SettingKind::library, "l" + std::to_string(i), std::string(100'000, 'x'), 1);
  ring.set_link(0, 1, true);
  ring.set_link(1, 0, true);
  std::size_t largest = 0;
  while (!ring.on_the_way.empty()) {
    largest = std::max(largest, ring.on_the_way.front().bytes.size());
    ring.deliver();
  }
  CHECK(largest < Settings::bytes_at_once + 110'000);
  CHECK(ring.delivered > 4);
  CHECK(ring.nodes[1].digest() == ring.nodes[0].digest());
  CHECK(ring.nodes[1].bytes() == ring.nodes[0].bytes());
}

}  // namespace
}  // namespace gyre
