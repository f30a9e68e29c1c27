#include "commands/table.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/assert.h"
#include "base/hash.h"
#include "base/numbers.h"
#include "shard/lookup.h"

namespace gyre {
namespace {

constexpr std::size_t name_max = 40;

// Eight letters at once in upper case; other bytes stay.
std::uint64_t upper(std::uint64_t letters) {
  constexpr std::uint64_t each = 0x0101010101010101u, high = 0x80 * each;
  const std::uint64_t low = letters & ~high;
  const std::uint64_t from_a = low + each * (0x80 - 'a'), above_z = low + each * (0x7f - 'z');
  return letters - ((((from_a ^ above_z) & ~letters) & high) >> 2);
}

template <class Word>
std::uint64_t load(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// Names become numbers that are equal for equal names of one size, whatever their case: their bytes
// without gaps, read twice where that is easier.
[[gnu::always_inline]] inline std::uint64_t short_word(std::string_view name) {
  const char* const at = name.data();
  const std::size_t size = name.size();
  if (size >= 4) return upper(load<std::uint32_t>(at) | load<std::uint32_t>(at + size - 4) << 32);
  if (size >= 2) return upper(load<std::uint16_t>(at) | load<std::uint16_t>(at + size - 2) << 16);
  return size == 1 ? upper(load<std::uint8_t>(at)) : 0;
}

struct NameWords {
  std::uint64_t size = 0, words[name_max / 8] = {};

  explicit NameWords(std::string_view name) : size(name.size()) {
    const char* const at = name.data();
    if (size <= 8) {
      words[0] = short_word(name);
      return;
    }
    for (std::size_t i = 0; i + 8 < size; i += 8) words[i / 8] = load<std::uint64_t>(at + i);
    words[(size - 1) / 8] = load<std::uint64_t>(at + size - 8);
    for (std::size_t i = 0; 8 * i < size; ++i) words[i] = upper(words[i]);
  }
  bool operator==(const NameWords& o) const {
    if (size != o.size || words[0] != o.words[0]) return false;
    for (std::size_t i = 1; 8 * i < size; ++i) {
      if (words[i] != o.words[i]) return false;
    }
    return true;
  }
};

// Rows lie side by side, so that a row's index is its place.
class Table {
 public:
  [[gnu::noinline]] Table() {
    const auto families = {
        string_commands(),      key_commands(),     hash_commands(),     set_commands(),
        zset_commands(),        list_commands(),    bitmap_commands(),   bitfield_commands(),
        hyperloglog_commands(), geo_commands(),     stream_commands(),   pubsub_commands(),
        scripting_commands(),   session_commands(), internal_commands(), hold_commands()};
    for (const auto family : families) specs_.insert(specs_.end(), family.begin(), family.end());
    for (CommandSpec& spec : specs_) add(spec);
  }

  [[gnu::always_inline]] const CommandSpec* find(std::string_view name) const {
    if (name.size() > 8 || name.empty()) return find_long(name);
    const std::uint64_t word = short_word(name);
    for (std::size_t i = bucket(name.size() + word);; i = (i + 1) % buckets_total) {
      const Bucket& b = buckets_[i];
      if (!b.spec || (b.name.words[0] == word && b.name.size == name.size())) return b.spec;
    }
  }
  [[gnu::noinline]] const CommandSpec* find_long(std::string_view name) const {
    if (name.empty() || name.size() > name_max) return nullptr;
    const NameWords words(name);
    for (std::size_t i = bucket(words);; i = (i + 1) % buckets_total) {
      if (!buckets_[i].spec || buckets_[i].name == words) return buckets_[i].spec;
    }
  }
  std::span<const CommandSpec* const> rows() const { return rows_; }

 private:
  struct Bucket {
    NameWords name{{}};
    const CommandSpec* spec = nullptr;
  };

  static constexpr std::size_t buckets_total = 2048;

  static std::size_t bucket(std::uint64_t sum) {
    return (sum * 0x9e3779b97f4a7c15u >> 53) % buckets_total;
  }
  // The long names differ late.
  static std::size_t bucket(const NameWords& name) {
    std::uint64_t sum = name.size + name.words[0];
    if (name.size > 8) sum += name.words[(name.size - 1) / 8] * 31 + name.words[1] * 7;
    return bucket(sum);
  }
  void add(CommandSpec& spec) {
    GYRE_ASSERT(rows_.size() < buckets_total / 2 && spec.name.size() <= name_max);
    const NameWords words(spec.name);
    std::size_t i = bucket(words);
    for (; buckets_[i].spec; i = (i + 1) % buckets_total) {
      GYRE_ASSERT(buckets_[i].spec->name != spec.name);
    }
    buckets_[i] = {words, &spec};
    spec.index = static_cast<std::uint16_t>(rows_.size());
    spec.plain =
        spec.run && spec.keys.first == 1 && spec.keys.last == 1 && !spec.find_keys && !spec.wanders;
    rows_.push_back(&spec);
  }

  std::vector<CommandSpec> specs_;
  std::vector<Bucket> buckets_ = std::vector<Bucket>(buckets_total);
  std::vector<const CommandSpec*> rows_;
};

[[gnu::always_inline]] inline const Table& table() {
  static const Table joined;
  return joined;
}

// A container: its subcommand's row, when there is one.
[[gnu::noinline]] const CommandSpec* find_subcommand(const CommandSpec* spec, Args args) {
  if (args[0].size() + 1 + args[1].size() > name_max) return spec;
  char buffer[name_max];
  char* to = std::copy(args[0].begin(), args[0].end(), buffer);
  *to++ = '|';
  to = std::copy(args[1].begin(), args[1].end(), to);
  const CommandSpec* sub =
      table().find({buffer, static_cast<std::size_t>(to - static_cast<char*>(buffer))});
  return sub ? sub : spec;
}

// A row of a subcommand has a name that no client may say in one word.
[[gnu::noinline]] const CommandSpec* find_further(const CommandSpec* spec, Args args) {
  if (args[0].find('|') != std::string_view::npos) return nullptr;
  return spec->run || args.size() < 2 ? spec : find_subcommand(spec, args);
}

}  // namespace

const CommandSpec* find_command(std::string_view name) {
  return table().find(name);
}

const CommandSpec* find_command(Args args) {
  const CommandSpec* spec = args.empty() ? nullptr : table().find(args[0]);
  return !spec || spec->plain ? spec : find_further(spec, args);
}

const CommandSpec* lookup_command(Args args) {
  return find_command(args);
}

std::span<const CommandSpec* const> all_commands() {
  return table().rows();
}

std::string wrong_arity(const CommandSpec& spec) {
  return "wrong number of arguments for '" + to_lower(spec.name) + "' command";
}

}  // namespace gyre
