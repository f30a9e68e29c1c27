// Selector: what a user may do, as one set of rules: commands, keys, channels.
//
// Rules are Redis' ("+@read", "~cache:*", "&news"); describe() writes them so that apply() of the
// words gives the same permissions again. A user has a root selector and any number of further
// ones; each alone must allow all of a command.
//
// Threading: a value.
#pragma once

#include <bitset>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "acl/catalog.h"

namespace gyre {

enum class RuleError : std::uint8_t {
  syntax,
  unknown_command,
  pattern_after_all,
  channel_after_all,
  no_such_password,
  bad_hash,
  first_argument_of_subcommand,
};
// Redis' words for it.
std::string_view rule_error_text(RuleError error);

// What keeps a command from running, the more of it was allowed the further down.
enum class Denied : std::uint8_t { nothing, command, key, channel };

struct Verdict {
  Denied why = Denied::nothing;
  std::size_t at = 0;  // the argument, when a key or a channel
};

class Selector {
 public:
  // channels: whether it begins with all of them (acl-pubsub-default).
  explicit Selector(bool all_channels) : all_channels_(all_channels) {}

  std::optional<RuleError> apply(std::string_view rule);

  Verdict check(const CommandSpec& spec, Args args) const;
  bool may_touch(std::string_view key, std::uint8_t access) const;
  // Any key there is: what SORT BY and GET take.
  bool may_touch_all(std::uint8_t access) const;
  bool may_everything() const { return all_commands_ && all_keys_ && all_channels_; }
  bool all_channels() const { return all_channels_; }
  const std::vector<std::string>& channels() const { return channels_; }

  std::string describe() const;
  std::string describe_commands() const;
  std::string describe_keys() const;
  std::string describe_channels() const;

 private:
  static constexpr std::size_t commands_max = 1024;  // as commands/table.cc has room for
  using Bits = std::bitset<commands_max>;
  struct KeyPattern {
    std::string pattern;
    std::uint8_t access;
  };

  std::optional<RuleError> apply_keys(std::string_view rule);
  std::optional<RuleError> apply_channel(std::string_view pattern);
  std::optional<RuleError> allow(std::string_view name);
  void set_all(bool on);
  void set_command(const CatalogRow& row, bool on);
  void set_category(std::uint32_t category, bool on);
  bool may_run(const CommandSpec& spec, Args args) const;
  void describe_single(Selector& done, std::uint16_t index, std::string& to) const;

  bool all_commands_ = false;
  bool future_commands_ = false;  // it began with all: what comes later is allowed, too
  bool all_keys_ = false;
  bool all_channels_ = false;
  Bits commands_;
  std::map<std::uint16_t, std::vector<std::string>> first_arguments_;  // by command
  std::vector<KeyPattern> keys_;
  std::vector<std::string> channels_;
};

// Whether one of the patterns covers a channel; what PSUBSCRIBE names must be one of them.
bool channel_allowed(const std::vector<std::string>& patterns, std::string_view channel,
                     bool is_pattern);

// Names of users and patterns may have none, so that lines of rules need no quotes.
bool has_blank(std::string_view text);

}  // namespace gyre
