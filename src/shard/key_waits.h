// KeyWaits: who waits for which key of this shard, and which of these keys have changed.
//
// A waiter is a number, given in the order of arrival by whoever keeps the waiters
// (coordination/waiters.h). KeySpace notes every change of a record; while nobody waits that is
// one comparison. A changed key is ready once, until take() hands out those who wait for it, first
// come first. What changed is not told: whoever is handed out looks at the key itself. Keys are
// known by their hash; two that share one only wake each other's waiters for nothing.
//
// Bounds: the engine's waits_max. Threading: as KeySpace.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace gyre {

class KeyWaits {
 public:
  using Waiter = std::uint64_t;  // later ones are higher
  using Line = std::uint64_t;    // of a key in a database

  static Line line_of(DbIndex db, std::uint64_t hash) {
    return hash + db.value * 0x9e3779b97f4a7c15u;
  }

  bool any() const { return !lines_.empty(); }
  bool ready() const { return !ready_.empty(); }
  // Waiters and keys, as pairs.
  std::size_t size() const { return size_; }

  void add(Waiter waiter, Line line) {
    auto& waiting = lines_[line].waiting;
    const auto at = std::lower_bound(waiting.begin(), waiting.end(), waiter);
    if (at != waiting.end() && *at == waiter) return;  // a key that was named twice
    waiting.insert(at, waiter);
    ++size_;
  }
  void remove(Waiter waiter, Line line) {
    const auto of = lines_.find(line);
    if (of == lines_.end()) return;
    auto& waiting = of->second.waiting;
    const auto at = std::lower_bound(waiting.begin(), waiting.end(), waiter);
    if (at == waiting.end() || *at != waiter) return;
    waiting.erase(at);
    --size_;
    if (waiting.empty()) lines_.erase(of);
  }

  // Called for each change of a record, whoever made it.
  void changed(DbIndex db, std::uint64_t hash) {
    if (any()) [[unlikely]]
      note(line_of(db, hash));
  }
  void note(Line line) {
    const auto of = lines_.find(line);
    if (of == lines_.end() || std::exchange(of->second.ready, true)) return;
    ready_.push_back(line);
  }
  // Many keys at once: a flush.
  void all_changed() {
    for (const auto& of : lines_) note(of.first);
  }

  // Those who wait for the key that was ready first; false when no key is.
  bool take(std::vector<Waiter>& waiting) {
    waiting.clear();
    while (!ready_.empty()) {
      const Line line = ready_.front();
      ready_.pop_front();
      const auto of = lines_.find(line);
      if (of == lines_.end()) continue;  // the last of them has gone since
      of->second.ready = false;
      waiting = of->second.waiting;
      return true;
    }
    return false;
  }

 private:
  struct Waiting {
    std::vector<Waiter> waiting;
    bool ready = false;
  };
  std::unordered_map<Line, Waiting> lines_;
  std::deque<Line> ready_;
  std::size_t size_ = 0;
};

}  // namespace gyre
