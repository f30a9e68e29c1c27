#include "acl/selector.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "base/assert.h"
#include "base/glob.h"
#include "base/numbers.h"
#include "commands/command_command.h"
#include "commands/key_use.h"

namespace gyre {
namespace {

void join(std::string& to, std::string_view word) {
  if (!to.empty()) to += ' ';
  to += word;
}

std::string_view access_prefix(std::uint8_t bits) {
  if (bits == access::both) return "~";
  return bits == access::read ? "%R~" : "%W~";
}

}  // namespace

std::string_view rule_error_text(RuleError error) {
  switch (error) {
    case RuleError::syntax:
      return "Syntax error";
    case RuleError::unknown_command:
      return "Unknown command or category name in ACL";
    case RuleError::pattern_after_all:
      return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does "
             "not have any effect. Try 'resetkeys' to start with an empty list of patterns";
    case RuleError::channel_after_all:
      return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
             "does not have any effect. Try 'resetchannels' to start with an empty list of "
             "channels";
    case RuleError::no_such_password:
      return "The password you are trying to remove from the user does not exist";
    case RuleError::bad_hash:
      return "The password hash must be exactly 64 characters and contain only lowercase "
             "hexadecimal characters";
    case RuleError::first_argument_of_subcommand:
      return "Allowing first-arg of a subcommand is not supported";
  }
  return "Wrong format";
}

bool has_blank(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return c == '\0' || std::isspace(static_cast<unsigned char>(c)) != 0;
  });
}

bool channel_allowed(const std::vector<std::string>& patterns, std::string_view channel,
                     bool is_pattern) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    return is_pattern ? pattern == channel : glob_match(pattern, channel);
  });
}

// ---- rules

std::optional<RuleError> Selector::apply(std::string_view rule) {
  const auto is = [&](std::string_view word) { return equals_ignore_case(rule, word); };
  if (rule.empty()) return RuleError::syntax;
  if (is("allkeys") || rule == "~*" || is("resetkeys")) {
    all_keys_ = !is("resetkeys");
    keys_.clear();
    return std::nullopt;
  }
  if (is("allchannels") || rule == "&*" || is("resetchannels")) {
    all_channels_ = !is("resetchannels");
    channels_.clear();
    return std::nullopt;
  }
  if (is("allcommands") || is("+@all")) return set_all(true), std::nullopt;
  if (is("nocommands") || is("-@all")) return set_all(false), std::nullopt;
  const char sign = rule.front();
  if (sign == '~' || sign == '%') return apply_keys(rule);
  if (sign == '&') return apply_channel(rule.substr(1));
  if (sign != '+' && sign != '-') return RuleError::syntax;
  const std::string_view name = rule.substr(1);
  if (name.starts_with('@')) {
    const auto category = Catalog::category(name.substr(1));
    if (!category) return RuleError::unknown_command;
    set_category(*category, sign == '+');
    return std::nullopt;
  }
  if (sign == '+') return allow(name);
  const CatalogRow* row = Catalog::get().find(name);
  if (!row) return RuleError::unknown_command;
  set_command(*row, false);
  return std::nullopt;
}

// ~pattern, %R~pattern, %W~pattern, %RW~pattern. Redis takes "%RW" for an empty pattern, too.
std::optional<RuleError> Selector::apply_keys(std::string_view rule) {
  if (all_keys_) return RuleError::pattern_after_all;
  std::uint8_t bits = access::both;
  std::size_t at = 1;
  if (rule.front() == '%') {
    bits = 0;
    for (; at < rule.size() && rule[at] != '~'; ++at) {
      const char letter = rule[at];
      const std::uint8_t bit = letter == 'r' || letter == 'R'   ? access::read
                               : letter == 'w' || letter == 'W' ? access::write
                                                                : std::uint8_t{0};
      if (bit == 0 || (bits & bit) != 0) return RuleError::syntax;
      bits |= bit;
    }
    if (bits == 0) return RuleError::syntax;
    ++at;
  }
  const std::string_view pattern = rule.substr(std::min(at, rule.size()));
  if (has_blank(pattern)) return RuleError::syntax;
  const auto same = std::find_if(keys_.begin(), keys_.end(),
                                 [&](const KeyPattern& k) { return k.pattern == pattern; });
  if (same != keys_.end()) {
    same->access |= bits;
  } else {
    keys_.push_back({std::string(pattern), bits});
  }
  return std::nullopt;
}

std::optional<RuleError> Selector::apply_channel(std::string_view pattern) {
  if (all_channels_) return RuleError::channel_after_all;
  if (has_blank(pattern)) return RuleError::syntax;
  if (std::find(channels_.begin(), channels_.end(), pattern) == channels_.end())
    channels_.emplace_back(pattern);
  return std::nullopt;
}

// +command, +container|subcommand, or +command|first-argument.
std::optional<RuleError> Selector::allow(std::string_view name) {
  const Catalog& catalog = Catalog::get();
  const std::size_t bar = name.rfind('|');
  const CatalogRow* row = catalog.find(name.substr(0, bar));
  if (!row) return RuleError::unknown_command;
  if (bar == std::string_view::npos) return set_command(*row, true), std::nullopt;
  if (row->subcommand) return RuleError::first_argument_of_subcommand;
  const std::string_view word = name.substr(bar + 1);
  if (word.empty()) return RuleError::syntax;
  if (!row->subcommands.empty()) {
    const CatalogRow* sub = catalog.find(name);
    if (!sub) return RuleError::unknown_command;
    return set_command(*sub, true), std::nullopt;
  }
  std::vector<std::string>& words = first_arguments_[row->spec->index];
  const bool there = std::any_of(words.begin(), words.end(), [&](const std::string& other) {
    return equals_ignore_case(other, word);
  });
  if (!there) words.emplace_back(word);
  return std::nullopt;
}

void Selector::set_all(bool on) {
  on ? commands_.set() : commands_.reset();
  all_commands_ = future_commands_ = on;
  first_arguments_.clear();
}

// With its subcommands.
void Selector::set_command(const CatalogRow& row, bool on) {
  GYRE_ASSERT(row.spec->index < commands_max);
  commands_.set(row.spec->index, on);
  first_arguments_.erase(row.spec->index);
  for (const std::uint16_t sub : row.subcommands) commands_.set(sub, on);
  if (!on) all_commands_ = false;
}

void Selector::set_category(std::uint32_t category, bool on) {
  const Catalog& catalog = Catalog::get();
  for (const std::uint16_t index : catalog.top_level()) {
    const CatalogRow& row = catalog.row(index);
    if (row.categories & category) set_command(row, on);
    for (const std::uint16_t sub : row.subcommands) {
      if (catalog.row(sub).categories & category) set_command(catalog.row(sub), on);
    }
  }
}

// ---- permissions

bool Selector::may_run(const CommandSpec& spec, Args args) const {
  if (all_commands_ || (spec.flags & flag::no_auth) || commands_.test(spec.index)) return true;
  if (first_arguments_.empty() || args.size() < 2) return false;
  const auto words = first_arguments_.find(spec.index);
  return words != first_arguments_.end() &&
         std::any_of(words->second.begin(), words->second.end(),
                     [&](const std::string& word) { return equals_ignore_case(word, args[1]); });
}

bool Selector::may_touch(std::string_view key, std::uint8_t access) const {
  return all_keys_ || std::any_of(keys_.begin(), keys_.end(), [&](const KeyPattern& k) {
           return (k.access & access) == access && glob_match(k.pattern, key);
         });
}

bool Selector::may_touch_all(std::uint8_t access) const {
  return all_keys_ || std::any_of(keys_.begin(), keys_.end(), [&](const KeyPattern& k) {
           return (k.access & access) == access && k.pattern == "*";
         });
}

Verdict Selector::check(const CommandSpec& spec, Args args) const {
  if (!may_run(spec, args)) return {Denied::command, 0};
  const CatalogRow& row = Catalog::get().row(spec);
  if (row.keys && !all_keys_) {
    const std::uint8_t first =
        row.key_use_varies ? access_of(key_use(spec, args).of(0)) : row.first;
    std::size_t nth = 0, denied_at = 0;
    for_each_key(spec, args, [&](std::size_t i) {
      if (denied_at == 0 && !may_touch(args[i], nth == 0 ? first : row.rest)) denied_at = i;
      ++nth;
    });
    if (denied_at != 0) return {Denied::key, denied_at};
  }
  if (row.channels != Channels::none && !all_channels_) {
    const std::size_t end = row.one_channel ? std::min<std::size_t>(2, args.size()) : args.size();
    for (std::size_t i = 1; i < end; ++i) {
      if (!channel_allowed(channels_, args[i], row.channels == Channels::patterns))
        return {Denied::channel, i};
    }
  }
  return {};
}

// ---- in words

std::string Selector::describe_keys() const {
  if (all_keys_) return "~*";
  std::string text;
  for (const KeyPattern& k : keys_) {
    join(text, access_prefix(k.access));
    text += k.pattern;
  }
  return text;
}

std::string Selector::describe_channels() const {
  if (all_channels_) return "&*";
  std::string text;
  for (const std::string& channel : channels_) join(text, "&" + channel);
  return text;
}

// What `done` does not say yet of one command, its subcommands and its first arguments.
void Selector::describe_single(Selector& done, std::uint16_t index, std::string& to) const {
  const CatalogRow& row = Catalog::get().row(index);
  const std::string name = command_shown_name(*row.spec);
  const bool on = commands_.test(index);
  if (on != done.commands_.test(index)) {
    join(to, (on ? "+" : "-") + name);
    done.set_command(row, on);
  }
  for (const std::uint16_t sub : row.subcommands) describe_single(done, sub, to);
  if (on) return;
  const auto words = first_arguments_.find(index);
  if (words == first_arguments_.end()) return;
  for (const std::string& word : words->second) join(to, "+" + name + "|" + word);
}

// From all or nothing, first the categories that say most and contradict least (as Redis chooses
// them), then command by command what is left.
std::string Selector::describe_commands() const {
  const bool adds = !future_commands_;
  std::string text = adds ? "-@all" : "+@all";
  Selector done(false), left = *this;
  done.set_all(!adds);
  const auto names = command_category_names();
  std::uint32_t applied = 0;
  while (true) {
    std::size_t best = names.size(), least_wrong = std::numeric_limits<std::size_t>::max(),
                most_right = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (applied & (1u << i)) continue;
      std::size_t right = 0, wrong = 0;
      const auto count = [&](std::uint16_t index) {
        if (Catalog::get().row(index).categories & (1u << i))
          ++(left.commands_.test(index) == adds ? right : wrong);
      };
      for (const std::uint16_t index : Catalog::get().top_level()) {
        count(index);
        for (const std::uint16_t sub : Catalog::get().row(index).subcommands) count(sub);
      }
      if (right > wrong && (wrong < least_wrong || (wrong == least_wrong && right > most_right))) {
        best = i;
        least_wrong = wrong;
        most_right = right;
      }
    }
    if (best == names.size()) break;
    applied |= 1u << best;
    done.set_category(1u << best, adds);
    left.set_category(1u << best, !adds);
    join(text, adds ? "+" : "-");
    text += names[best];
  }
  for (const std::uint16_t index : Catalog::get().top_level()) describe_single(done, index, text);
  return text;
}

std::string Selector::describe() const {
  std::string text = describe_keys();
  if (!all_channels_) join(text, "resetchannels");
  if (const std::string channels = describe_channels(); !channels.empty()) join(text, channels);
  join(text, describe_commands());
  return text;
}

}  // namespace gyre
