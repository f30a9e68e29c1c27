// RingSettings: a node's part in membership/settings.h. What a command changes here goes to the
// whole ring; what others changed is applied here. On a node that is alone it does nothing.
//
// A command makes its change where the thing lives (Accounts, NodeScripts, Config), says
// changed(), and answers by answer_when_told() (session_parts.h): when all peers that are up have
// it, or after `told_within_ms`, for they get it in any case as soon as they can.
//
// Where a local change and one from the ring may meet, whoever applies asks for the register's
// value again under the lock of the thing itself, so the later one stands. Libraries, options and
// scripts share one lock for that, changing(); users have that of Accounts.
//
// Libraries and the databases' numbers are kept in the file DIR/settings. The rest comes from the
// configuration at a start, and then from the peers, so what the whole ring shall have after all
// its nodes were stopped at once is written by CONFIG REWRITE or ACL SAVE.
//
// Threading: changed(), changing(), value(), count() and bytes() from any; the rest on worker 0.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "membership/settings.h"

namespace gyre {

class Server;
class Worker;

class RingSettings {
 public:
  static constexpr std::int64_t told_within_ms = 1000;

  explicit RingSettings(Server& server) : server_(server) {}

  // At start, with the libraries of the file `functions` in place: reads the file, and applies it.
  Result<void> load();

  void changed(SettingKind kind, std::string_view name, std::optional<std::string> value);
  [[nodiscard]] std::unique_lock<std::mutex> changing() { return std::unique_lock(changing_); }
  // SWAPDB: exchanges two numbers, for the whole ring.
  void swap_databases(std::size_t a, std::size_t b);
  // The register's value; nothing when there is none, or it was removed.
  std::optional<std::string> value(SettingKind kind, std::string_view name) const;
  // Something was changed() that no peer has been told.
  bool untold() const;
  std::size_t count() const;
  std::size_t bytes() const;

  // Tells it. done: on worker 0, at once when nobody is there to be told.
  void tell(Worker& w, std::function<void(Worker&)> done);
  void peer_up(Worker& w, NodeIndex peer);
  void on_message(Worker& w, NodeIndex peer, const Envelope& envelope);
  void tick(Worker& w);

 private:
  struct Waiting {
    std::set<std::uint16_t> peers;
    SteadyMs until = 0;
    std::function<void(Worker&)> done;
  };

  Settings::Send sender(Worker& w) const;
  void apply(Worker& w, const Setting& setting);
  void apply_prefixes(Worker& w, const std::string& node);
  void apply_libraries();
  void apply_databases();
  void apply_option(const std::string& name);
  void apply_flush();
  void save();

  Server& server_;
  std::mutex changing_;
  mutable std::mutex mutex_;  // of settings_ and untold_
  Settings settings_{0};
  std::vector<Setting> untold_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Waiting> waiting_;
};

}  // namespace gyre
