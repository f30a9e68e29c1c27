// DatabaseNames: which database a number means.
//
// Clients say numbers (SELECT, MOVE, SWAPDB) and see them (INFO, MONITOR, key events); everywhere
// else a DbIndex is where keys lie. On a ring SWAPDB exchanges two numbers and moves no key: the
// names are one setting of the whole ring (membership/settings.h). Invariant: a permutation.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"

namespace gyre {

class DatabaseNames {
 public:
  DatabaseNames() {
    for (std::size_t i = 0; i < lies_.size(); ++i) lies_[i] = names_[i] = to_byte(i);
  }

  DbIndex lies(std::size_t name) const { return {lies_[name]}; }
  std::size_t name(DbIndex db) const { return names_[db.value]; }
  // Where a client is that was at `db` while `old` were the names.
  DbIndex moved(const DatabaseNames& old, DbIndex db) const { return lies(old.name(db)); }

  void swap(std::size_t a, std::size_t b) {
    std::swap(lies_[a], lies_[b]);
    std::swap(names_[lies_[a]], names_[lies_[b]]);
  }

  // As a setting: of each number in its order where it lies, up to the last that is not itself.
  std::string encoded() const {
    std::size_t n = lies_.size();
    while (n > 0 && lies_[n - 1] == n - 1) --n;
    return {lies_.begin(), lies_.begin() + static_cast<std::ptrdiff_t>(n)};
  }
  // Nothing when the bytes are no permutation.
  static std::optional<DatabaseNames> decoded(std::string_view bytes) {
    DatabaseNames out;
    if (bytes.size() > out.lies_.size()) return std::nullopt;
    std::array<bool, databases_max> taken{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto at = static_cast<std::uint8_t>(bytes[i]);
      if (at >= bytes.size() || taken[at]) return std::nullopt;
      taken[at] = true;
      out.lies_[i] = at;
      out.names_[at] = to_byte(i);
    }
    return out;
  }
  bool operator==(const DatabaseNames&) const = default;

 private:
  static std::uint8_t to_byte(std::size_t i) { return static_cast<std::uint8_t>(i); }

  // One more than there can be: prepared_db has no other name.
  std::array<std::uint8_t, databases_max + 1> lies_, names_;
};

}  // namespace gyre
