// Settings: what holds on every node of the ring and is neither data nor the ring itself: users,
// libraries of functions, scripts that were loaded, options that CONFIG SET gives the whole ring,
// whose clients track by prefix, and the numbers of the databases.
//
// Each is a register by kind and name, and the highest version wins, so nodes may change them apart
// from each other. A change is told to all peers that are up. When a link comes up both ends say a
// digest of all that they know, and whoever hears another one tells everything: so a node that was
// away has what it missed. What is removed stays as a name without value, for as long as the node
// runs.
//
// SCRIPT FLUSH is a register of its own (flushed): no script that is older stands.
//
// A host merges with set() and on_told(), hears what is new from them, and applies it; it keeps on
// its disk what shall outlive all nodes' restarts, and gives it back with take(). What Settings
// does not know it keeps and passes on. Pure: no sockets, no clock. Threading: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "record/version.h"
#include "wire/messages.h"

namespace gyre {

enum class SettingKind : std::uint8_t {
  user = 1,
  library = 2,
  script = 3,
  flushed = 4,
  option = 5,
  prefixes = 6,  // by a node's name: its clients are told of changes of keys that begin so
  databases = 7  // one register: which database each number means (shard/database_names.h)
};

struct Setting {
  SettingKind kind{};
  std::string name;
  std::optional<std::string> value;  // nothing: it was removed
  Version version{};
};

class Settings {
 public:
  // Drops the message when the peer cannot be reached; views end with the call.
  using Send = std::function<void(NodeIndex to, const SettingsTold&)>;
  static constexpr std::size_t bytes_at_once = std::size_t{1} << 20;  // of a message, roughly

  explicit Settings(std::uint16_t clock_node) : clock_(clock_node) {}
  void set_clock_node(std::uint16_t node) { clock_.set_node(node); }

  // A change that is made here: stamped above all that is known.
  Setting set(SettingKind kind, std::string_view name, std::optional<std::string> value,
              UnixMs wall);
  // False: something as new is known.
  bool take(Setting setting);

  // The link to the peer has come up.
  void peer_up(NodeIndex peer, const Send& send);
  // What is new in the message, in the order of versions.
  std::vector<Setting> on_told(NodeIndex from, const SettingsTold& m, const Send& send);
  static void tell(const std::vector<Setting>& changes, std::uint64_t id, SettingsTold& message);
  static void tell(std::vector<Setting>&&, std::uint64_t, SettingsTold&) = delete;  // views

  std::vector<Setting> all(SettingKind kind) const;  // also the removed, by version
  std::optional<std::string> value(SettingKind kind, std::string_view name) const;
  std::size_t count() const { return known_.size(); }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t digest() const { return digest_; }

 private:
  using Key = std::pair<std::uint8_t, std::string>;
  struct Value {
    std::optional<std::string> value;
    Version version{};
  };
  using Known = std::map<Key, Value>;

  Known::iterator drop(Known::iterator at);
  void tell_all(NodeIndex to, const Send& send);

  HybridClock clock_;
  Known known_;
  Version flushed_{};
  std::uint64_t digest_ = 0;
  std::size_t bytes_ = 0;
  std::map<std::uint16_t, std::uint64_t> told_;  // to whom all was told, by the digest of then
};

}  // namespace gyre
