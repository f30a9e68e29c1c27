// Identity: who this node is on its ring: name, index, incarnation; and what it knows of others'.
//
// A node with its identity file goes on as it was. One without it (new, wiped, or without
// persistence) asks its peers for the last incarnation of its name, takes the next one, and serves
// nothing before a majority of the ring has stored it (design, section 4).
//
//     asking --(enough have answered)--> [waiting] --> storing --(a majority has it)--> settled
//
// Generations count 0, 1, 2, ...; the incarnation, three bits of every version, is the generation
// modulo 8, so that which of two is the later never depends on anybody's clock. A generation whose
// incarnation was in use less than a minute ago waits for that minute: its stamps then lie above
// those of the former user of the bits, whatever the skew.
//
// Enough answers: those who store are n / 2 others, so n - n / 2 others that answer meet one of
// them, whatever was lost with this node's own disk. With fewer, but a majority of the ring
// counting itself, 5 s of waiting do instead: whoever this node was before has not stamped since,
// which is ten times what clocks of nodes that act may differ by.
//
// A settled node tells each peer its generation again whenever the link to it comes up: peers may
// have been wiped as well.
//
// Files, each a small file (persist/small_file.h):
//   identity      name, cluster, index, generation, boot id of the machine
//   incarnations  for each other node: the last generation stored here, and when the last 8 were
//
// A host calls open() once, step() every tick, peer_up() when a link comes up, on_message() for the
// four identity messages, and gives them a way to send and the time. Pure: no sockets, no clock.
// Threading: one thread, but for what is atomic.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <variant>

#include "base/ids.h"
#include "base/result.h"
#include "persist/small_files.h"
#include "wire/messages.h"

namespace gyre {

using IdentityMessage = std::variant<IdentityAsk, IdentityAnswer, IdentityStore, IdentityStored>;

class Identity {
 public:
  static constexpr std::size_t incarnations = 8;
  static constexpr std::int64_t reuse_after_ms = 60'000;
  static constexpr std::int64_t few_wait_ms = 5000;

  struct Options {
    std::string name, cluster;
    NodeIndex self{};         // rank in the ring's list
    std::uint16_t index = 0;  // the number in versions (NodeInfo::index)
    std::size_t nodes = 1;
    std::string boot_id;  // of the machine
  };
  // Drops the message when the peer cannot be reached; views end with the call.
  using Send = std::function<void(NodeIndex to, std::uint16_t shard, const IdentityMessage&)>;

  // Reads the files. nullptr: nothing is kept, every start is that of a wiped node. `files`
  // outlives this. Errors: another node's or another cluster's folder, another index, damage.
  Result<void> open(const Options& options, SmallFiles* files);

  // The 12 bits of this node's versions.
  std::uint16_t clock_node() const {
    return static_cast<std::uint16_t>(options_.index * incarnations + incarnation());
  }
  std::uint8_t incarnation() const {
    return static_cast<std::uint8_t>(generation_.load() % incarnations);
  }
  std::uint64_t generation() const { return generation_.load(); }
  bool settled() const { return settled_.load(); }
  // The last run was on the same boot of the machine.
  bool same_boot() const { return same_boot_; }
  // A peer knows a later generation of this name: this folder is an old copy, and what the later
  // one acknowledged is not in it.
  bool outdated() const { return outdated_; }

  // Asks, waits, stores, settles. True when it became settled now.
  bool step(SteadyMs now, const Send& send);
  void peer_up(NodeIndex peer) { stored_.erase(peer.value); }
  void on_message(NodeIndex from, const Envelope& envelope, SteadyMs now, UnixMs wall,
                  const Send& send);
  std::string waiting_for() const;  // any thread

 private:
  enum class Phase : std::uint8_t { asking, waiting, storing, settled };
  struct Stored {
    std::uint64_t generation = 0;
    std::array<UnixMs, incarnations> at_ms{};  // by generation % 8, of the last 8
  };

  Result<void> read_identity();
  Result<void> read_incarnations();
  Result<void> write_identity();
  Result<void> write_incarnations();
  std::size_t majority() const { return options_.nodes / 2 + 1; }
  bool choose(SteadyMs now);
  SteadyMs free_at(std::uint64_t generation) const;
  void begin_again();
  void on_ask(NodeIndex from, const IdentityAsk& m, UnixMs wall, const Send& send);
  void on_answer(NodeIndex from, const IdentityAnswer& m, SteadyMs now);
  void on_store(NodeIndex from, const IdentityStore& m, UnixMs wall, const Send& send);
  void on_stored(NodeIndex from, const IdentityStored& m);

  Options options_;
  SmallFiles* files_ = nullptr;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<bool> settled_{false};
  bool same_boot_ = false;
  bool outdated_ = false;
  std::map<std::string, Stored> others_;
  std::set<std::string> refused_;  // names whose old copies were already spoken of

  // While it asks.
  std::atomic<Phase> phase_{Phase::asking};
  std::set<std::uint16_t> answered_, stored_;
  bool any_known_ = false;
  std::uint64_t last_known_ = 0;
  std::map<std::uint64_t, SteadyMs> stored_at_;  // by generation, by our clock, the latest
  // How many have answered or, when storing, stored it: for waiting_for().
  std::atomic<std::size_t> answers_{0}, stores_{0};
  std::atomic<std::int64_t> wait_left_ms_{0};
  SteadyMs began_ = 0, sent_at_ = 0;
  bool stepped_ = false, wait_said_ = false;
};

}  // namespace gyre
