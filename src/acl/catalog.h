// The commands as users' rules see them: categories as bits, subcommands, and what of their
// arguments is asked for. Derived once from the command table.
//
// Threading: constant after the first call.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "shard/command.h"

namespace gyre {

namespace access {
inline constexpr std::uint8_t read = 1, write = 2, both = read | write;
}

// "RW access update" as bits of access; a command that only asks whether a key is there has none.
std::uint8_t access_of(std::string_view key_use);

enum class Channels : std::uint8_t { none, names, patterns };

struct CatalogRow {
  const CommandSpec* spec = nullptr;
  bool listed = false;  // clients may know of it
  bool subcommand = false;
  std::vector<std::uint16_t> subcommands;
  std::uint32_t categories = 0;  // by place in command_category_names()
  bool keys = false;
  bool key_use_varies = false;       // its arguments decide
  std::uint8_t first = 0, rest = 0;  // access to the first key and to the others
  Channels channels = Channels::none;
  bool one_channel = false;  // the first argument only
};

class Catalog {
 public:
  static const Catalog& get();

  const CatalogRow& row(const CommandSpec& spec) const { return rows_[spec.index]; }
  const CatalogRow& row(std::size_t index) const { return rows_[index]; }
  // Those that are no subcommands, in the order of the table.
  const std::vector<std::uint16_t>& top_level() const { return top_level_; }
  // As rules name it: "get", "config", "config|get". nullptr: there is none.
  const CatalogRow* find(std::string_view name) const;
  // The bit of a category without its '@'; nothing: there is none.
  static std::optional<std::uint32_t> category(std::string_view name);

 private:
  Catalog();
  std::vector<CatalogRow> rows_;  // by the table's index
  std::vector<std::uint16_t> top_level_;
};

}  // namespace gyre
