#include "commands/table.h"

#include <array>
#include <cstring>

#include "base/assert.h"
#include "base/hash.h"
#include "base/numbers.h"
#include "shard/lookup.h"

namespace gyre {
namespace {

constexpr std::size_t name_max = 40;

// Names upper-cased into a buffer on the stack; 0 when too long to be a command.
std::size_t upper(std::string_view name, char* to) {
  if (name.size() > name_max) return 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    to[i] = (c >= 'a' && c <= 'z') ? static_cast<char>(c - 32) : c;
  }
  return name.size();
}

class Table {
 public:
  Table() {
    for (const auto family :
         {string_commands(), key_commands(), hash_commands(), set_commands(), zset_commands(),
          list_commands(), bitmap_commands(), bitfield_commands(), hyperloglog_commands(),
          geo_commands(), stream_commands(), pubsub_commands(), session_commands(),
          internal_commands()}) {
      for (const CommandSpec& spec : family) add(spec);
    }
  }

  const CommandSpec* find(std::string_view upper_name) const {
    for (std::size_t i = bucket(upper_name);; i = (i + 1) % buckets_.size()) {
      const CommandSpec* spec = buckets_[i];
      if (!spec || spec->name == upper_name) return spec;
    }
  }
  std::span<const CommandSpec* const> rows() const { return rows_; }
  std::size_t index(const CommandSpec& spec) const {
    for (std::size_t i = bucket(spec.name);; i = (i + 1) % buckets_.size()) {
      if (buckets_[i] == &spec) return index_[i];
    }
  }

 private:
  // Cheap, and good enough for a few hundred names: length and four letters.
  std::size_t bucket(std::string_view name) const {
    if (name.empty()) return 0;
    std::uint32_t h = static_cast<std::uint32_t>(name.size());
    h = h * 131 + static_cast<unsigned char>(name.front());
    h = h * 131 + static_cast<unsigned char>(name.back());
    h = h * 131 + static_cast<unsigned char>(name[name.size() / 2]);
    h = h * 131 + static_cast<unsigned char>(name[name.size() / 3]);
    return (h * 2654435761u >> 21) % buckets_.size();
  }
  void add(const CommandSpec& spec) {
    GYRE_ASSERT(rows_.size() < buckets_.size() / 2);
    for (std::size_t i = bucket(spec.name);; i = (i + 1) % buckets_.size()) {
      if (buckets_[i]) {
        GYRE_ASSERT(buckets_[i]->name != spec.name);
        continue;
      }
      buckets_[i] = &spec;
      index_[i] = rows_.size();
      rows_.push_back(&spec);
      return;
    }
  }

  std::array<const CommandSpec*, 2048> buckets_{};
  std::array<std::size_t, 2048> index_{};
  std::vector<const CommandSpec*> rows_;
};

const Table& table() {
  static const Table joined;
  return joined;
}

}  // namespace

const CommandSpec* find_command(std::string_view name) {
  char buffer[name_max];
  const std::size_t n = upper(name, buffer);
  return n ? table().find({buffer, n}) : nullptr;
}

const CommandSpec* find_command(Args args) {
  const CommandSpec* spec = args.empty() ? nullptr : find_command(args[0]);
  if (!spec || spec->run || args.size() < 2) return spec;
  // A container: its subcommand's row, when there is one.
  char buffer[2 * name_max + 1];
  std::size_t n = upper(args[0], buffer);
  buffer[n++] = '|';
  const std::size_t m = upper(args[1], buffer + n);
  if (!m) return spec;
  const CommandSpec* sub = table().find({buffer, n + m});
  return sub ? sub : spec;
}

const CommandSpec* lookup_command(Args args) {
  return find_command(args);
}

std::span<const CommandSpec* const> all_commands() {
  return table().rows();
}
std::size_t command_index(const CommandSpec& spec) {
  return table().index(spec);
}

}  // namespace gyre
