// User: who may connect under a name, and what they may do; Users: all of a node.
//
// Users are never changed in place: a change makes a copy, and a new Users with it, which every
// thread takes over when it next looks (server/accounts.h). So a connection's permissions are a
// pointer, read without a lock.
//
// Passwords are kept as SHA-256 only, compared in constant time.
// Threading: values; shared ones are constant.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "acl/selector.h"
#include "base/result.h"

namespace gyre {

class User {
 public:
  // As ACL SETUSER makes one: off, without password or permission. id: of this user alone, so that
  // another one of the same name later is not taken for it.
  User(std::string name, std::uint64_t id, bool all_channels);

  const std::string& name() const { return name_; }
  std::uint64_t id() const { return id_; }
  bool enabled() const { return enabled_; }
  bool nopass() const { return nopass_; }
  const std::vector<std::string>& passwords() const { return passwords_; }  // in hex
  const Selector& root() const { return selectors_.front(); }
  std::span<const Selector> further_selectors() const { return std::span(selectors_).subspan(1); }

  // One rule. all_channels: what new selectors begin with.
  std::optional<RuleError> apply(std::string_view rule, bool all_channels);
  // The same permissions under another name and id.
  User as(std::string name, std::uint64_t id) const;

  bool accepts(std::string_view password) const;
  bool may_everything() const;
  Verdict check(const CommandSpec& spec, Args args) const;
  bool may_touch(std::string_view key, std::uint8_t access) const;
  // Whether a selector that allows the command also allows this to any key.
  bool may_touch_all(const CommandSpec& spec, Args args, std::uint8_t access) const;
  bool may_listen(std::string_view channel, bool is_pattern) const;
  // Every channel rule that `other` has is here as well.
  bool listens_as(const User& other) const;

  std::vector<std::string_view> flags() const;
  // "on #hash ~* &* +@all", as a line of the ACL file has it behind the name.
  std::string describe() const;
  // The part of it that says what the user may do.
  std::string describe_permissions() const;

 private:
  enum class Sanitize : std::uint8_t { unsaid, yes, no };

  std::optional<RuleError> apply_password(std::string_view rule);

  std::string name_;
  std::uint64_t id_;
  bool enabled_ = false, nopass_ = false;
  Sanitize sanitize_ = Sanitize::unsaid;  // shown only: values of RESTORE are checked always
  std::vector<std::string> passwords_;
  std::vector<Selector> selectors_;  // the root first
};

using UserPtr = std::shared_ptr<const User>;
inline constexpr std::string_view default_user_name = "default";

struct Users {
  std::map<std::string, UserPtr, std::less<>> by_name;

  UserPtr find(std::string_view name) const;
  const UserPtr& default_user() const { return by_name.find(default_user_name)->second; }
  // New connections need no password.
  bool open() const { return default_user()->nopass() && default_user()->enabled(); }
};

// The default user as it is when nobody has said anything: may everything, needs no password.
User fresh_default_user(std::uint64_t id);

// Selectors that were written with blanks, put together: "(+get" "~a)". Error: the word where one
// opens that nobody closes.
struct Unmatched {
  std::string word;
};
std::optional<Unmatched> merge_selectors(std::span<const std::string> words,
                                         std::vector<std::string>& merged);

// What ACL SETUSER does: all rules or, with the error that the client reads, none.
Result<void> set_rules(User& user, std::span<const std::string> words, bool all_channels);

// Lines "user name rule ...". Each user gets its id from next_id; name: of the file, for errors.
// The default user is missing where the file does not have it.
// Errors: everything that is wrong in it, in Redis' words; then nothing of it counts.
Result<Users> parse_user_file(std::string_view text, const std::string& name, bool all_channels,
                              std::uint64_t& next_id);
std::string user_file_text(const Users& users);

// SHA-256 in lower-case hex.
std::string password_hash(std::string_view password);

}  // namespace gyre
