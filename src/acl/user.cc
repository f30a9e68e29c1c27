#include "acl/user.h"

#include <algorithm>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/assert.h"
#include "base/numbers.h"
#include "config/value.h"

namespace gyre {
namespace {

constexpr std::size_t hash_digits = 2 * SHA256_DIGEST_LENGTH;

bool is_hash(std::string_view text) {
  return text.size() == hash_digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

std::string password_hash(std::string_view password) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(password.data()), password.size(), digest);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

User::User(std::string name, std::uint64_t id, bool all_channels)
    : name_(std::move(name)), id_(id), selectors_{Selector(all_channels)} {}

User User::as(std::string name, std::uint64_t id) const {
  User copy = *this;
  copy.name_ = std::move(name);
  copy.id_ = id;
  return copy;
}

// ---- rules

std::optional<RuleError> User::apply(std::string_view rule, bool all_channels) {
  const auto is = [&](std::string_view word) { return equals_ignore_case(rule, word); };
  if (rule.empty()) return std::nullopt;
  if (is("on") || is("off")) return enabled_ = is("on"), std::nullopt;
  if (is("sanitize-payload")) return sanitize_ = Sanitize::yes, std::nullopt;
  if (is("skip-sanitize-payload")) return sanitize_ = Sanitize::no, std::nullopt;
  if (is("nopass") || is("resetpass")) {
    nopass_ = is("nopass");
    passwords_.clear();
    return std::nullopt;
  }
  if (is("clearselectors")) {
    selectors_.erase(selectors_.begin() + 1, selectors_.end());
    return std::nullopt;
  }
  if (is("reset")) {
    User fresh(std::move(name_), id_, all_channels);
    fresh.sanitize_ = Sanitize::yes;
    *this = std::move(fresh);
    return std::nullopt;
  }
  const char sign = rule.front();
  if (sign == '>' || sign == '#' || sign == '<' || sign == '!') return apply_password(rule);
  if (sign != '(' || rule.back() != ')') return selectors_.front().apply(rule);
  Selector selector(all_channels);
  for (const std::string& word : split_blanks(rule.substr(1, rule.size() - 2))) {
    if (const auto error = selector.apply(word)) return error;
  }
  selectors_.push_back(std::move(selector));
  return std::nullopt;
}

// >password #hash, and <password !hash to remove it.
std::optional<RuleError> User::apply_password(std::string_view rule) {
  const bool hashed = rule.front() == '#' || rule.front() == '!';
  const std::string_view given = rule.substr(1);
  if (hashed && !is_hash(given)) return RuleError::bad_hash;
  const std::string hash = hashed ? std::string(given) : password_hash(given);
  const auto at = std::find(passwords_.begin(), passwords_.end(), hash);
  if (rule.front() == '<' || rule.front() == '!') {
    if (at == passwords_.end()) return RuleError::no_such_password;
    passwords_.erase(at);
    return std::nullopt;
  }
  if (at == passwords_.end()) passwords_.push_back(hash);
  nopass_ = false;
  return std::nullopt;
}

// ---- permissions

// How long it takes says nothing of the passwords.
bool User::accepts(std::string_view password) const {
  if (!enabled_) return false;
  if (nopass_) return true;
  const std::string hash = password_hash(password);
  bool right = false;
  for (const std::string& real : passwords_)
    right |= CRYPTO_memcmp(hash.data(), real.data(), hash_digits) == 0;
  return right;
}

bool User::may_everything() const {
  return std::any_of(selectors_.begin(), selectors_.end(),
                     [](const Selector& s) { return s.may_everything(); });
}

// One selector must allow all of it. Told is what was nearest to it: a key or a channel rather than
// the command, and of those the last argument that nobody got beyond.
Verdict User::check(const CommandSpec& spec, Args args) const {
  Verdict nearest{Denied::command, 0};
  for (const Selector& selector : selectors_) {
    const Verdict verdict = selector.check(spec, args);
    if (verdict.why == Denied::nothing) return verdict;
    if (verdict.why > nearest.why || (verdict.why == nearest.why && verdict.at > nearest.at))
      nearest = verdict;
  }
  return nearest;
}

bool User::may_touch(std::string_view key, std::uint8_t access) const {
  return std::any_of(selectors_.begin(), selectors_.end(),
                     [&](const Selector& s) { return s.may_touch(key, access); });
}

bool User::may_touch_all(const CommandSpec& spec, Args args, std::uint8_t access) const {
  return std::any_of(selectors_.begin(), selectors_.end(), [&](const Selector& s) {
    return s.check(spec, args).why == Denied::nothing && s.may_touch_all(access);
  });
}

bool User::may_listen(std::string_view channel, bool is_pattern) const {
  return std::any_of(selectors_.begin(), selectors_.end(), [&](const Selector& s) {
    return s.all_channels() || channel_allowed(s.channels(), channel, is_pattern);
  });
}

bool User::listens_as(const User& other) const {
  const auto here = [this](const std::string& channel) {
    return std::any_of(selectors_.begin(), selectors_.end(), [&](const Selector& s) {
      return std::find(s.channels().begin(), s.channels().end(), channel) != s.channels().end();
    });
  };
  const auto all = [](const Selector& s) { return s.all_channels(); };
  if (std::any_of(selectors_.begin(), selectors_.end(), all)) return true;
  return std::all_of(other.selectors_.begin(), other.selectors_.end(), [&](const Selector& s) {
    return !s.all_channels() && std::all_of(s.channels().begin(), s.channels().end(), here);
  });
}

// ---- in words

std::vector<std::string_view> User::flags() const {
  std::vector<std::string_view> flags{enabled_ ? "on" : "off"};
  if (nopass_) flags.emplace_back("nopass");
  if (sanitize_ == Sanitize::no) flags.emplace_back("skip-sanitize-payload");
  if (sanitize_ == Sanitize::yes) flags.emplace_back("sanitize-payload");
  return flags;
}

std::string User::describe() const {
  std::string text;
  for (const std::string_view flag : flags()) text.append(flag).append(" ");
  for (const std::string& hash : passwords_) text.append("#").append(hash).append(" ");
  return text + describe_permissions();
}

std::string User::describe_permissions() const {
  std::string text = root().describe();
  for (const Selector& s : further_selectors()) text += " (" + s.describe() + ")";
  return text;
}

// ---- all of them

UserPtr Users::find(std::string_view name) const {
  const auto at = by_name.find(name);
  return at == by_name.end() ? nullptr : at->second;
}

User fresh_default_user(std::uint64_t id) {
  User user{std::string(default_user_name), id, true};
  for (const std::string_view rule : {"+@all", "~*", "on", "nopass"}) {
    const auto error = user.apply(rule, true);
    GYRE_ASSERT(!error);
  }
  return user;
}

std::optional<Unmatched> merge_selectors(std::span<const std::string> words,
                                         std::vector<std::string>& merged) {
  std::optional<Unmatched> open;
  std::string selector;
  for (const std::string& word : words) {
    if (!open && (!word.starts_with('(') || word.ends_with(')'))) {
      merged.push_back(word);
    } else if (!open || (word.starts_with('(') && !word.ends_with(')'))) {
      open = {word};
      selector = word;
    } else {
      selector += " " + word;
      if (!word.ends_with(')')) continue;
      merged.push_back(std::move(selector));
      open.reset();
    }
  }
  return open;
}

Result<void> set_rules(User& user, std::span<const std::string> words, bool all_channels) {
  std::vector<std::string> rules;
  if (const auto open = merge_selectors(words, rules)) {
    return Error(Errc::err,
                 "Unmatched parenthesis in acl selector starting at '" + open->word + "'.");
  }
  User changed = user;
  for (const std::string& rule : rules) {
    if (const auto error = changed.apply(rule, all_channels)) {
      return Error(Errc::err, "Error in ACL SETUSER modifier '" + rule +
                                  "': " + std::string(rule_error_text(*error)));
    }
  }
  user = std::move(changed);
  return {};
}

// ---- the file

namespace {

struct FileLine {
  std::string at;  // "users.acl:3"
  std::string_view text;
  std::size_t number;
};

// One line into users; what is wrong with it.
std::string parse_line(const FileLine& line, bool all_channels, std::uint64_t& next_id,
                       Users& users) {
  const std::vector<std::string> words = split_blanks(line.text);
  if (words.empty()) return {};
  if (words[0] != "user" || words.size() < 2)
    return line.at + " should start with user keyword followed by the username. ";
  if (has_blank(words[1]))
    return "'" + line.at + ": username '" + words[1] + "' contains invalid characters. ";
  if (users.find(words[1])) {
    return "WARNING: Duplicate user '" + words[1] + "' found on line " +
           std::to_string(line.number) + ". ";
  }
  std::vector<std::string> rules;
  if (merge_selectors(std::span(words).subspan(2), rules))
    return line.at + ": Unmatched parenthesis in selector definition.";
  User user(words[1], next_id++, all_channels);
  std::string errors;
  bool told = false;
  for (const std::string& rule : rules) {
    const auto error = user.apply(rule, all_channels);
    if (!error) continue;
    const std::string text(rule_error_text(*error));
    if (*error == RuleError::unknown_command) {
      errors += line.at + ": Error in applying operation '" + rule + "': " + text + ". ";
    } else if (!told) {
      // Without the rule, which may be a password.
      errors += line.at + ": " + text + ". ";
      told = true;
    }
  }
  users.by_name.emplace(words[1], std::make_shared<const User>(std::move(user)));
  return errors;
}

}  // namespace

Result<Users> parse_user_file(std::string_view text, const std::string& name, bool all_channels,
                              std::uint64_t& next_id) {
  Users users;
  std::string errors;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    errors += parse_line({name + ":" + std::to_string(number), text.substr(0, end), number},
                         all_channels, next_id, users);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (!errors.empty()) {
    return Error(Errc::err, errors +
                                "WARNING: ACL errors detected, no change to the previously active "
                                "ACL rules was performed");
  }
  return users;
}

std::string user_file_text(const Users& users) {
  std::string text;
  for (const auto& [name, user] : users.by_name)
    text += "user " + name + " " + user->describe() + "\n";
  return text;
}

}  // namespace gyre
