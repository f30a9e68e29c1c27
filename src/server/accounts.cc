#include "server/accounts.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/file.h"
#include "base/log.h"
#include "config/line.h"
#include "config/value.h"

namespace gyre {
namespace {

constexpr const char* no_file =
    "This Redis instance is not configured to use an ACL file. You may want to specify users via "
    "the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis "
    "configuration file set) in order to store users in the Redis configuration.";

}  // namespace

Accounts::Accounts(Config& config, std::function<void()> changed)
    : config_(config), changed_(std::move(changed)) {
  Users users;
  users.by_name.emplace(default_user_name,
                        std::make_shared<const User>(fresh_default_user(next_id_++)));
  users_ = std::make_shared<const Users>(std::move(users));
}

bool Accounts::all_channels() const {
  return config_.acl_pubsub_default == choice::AclPubsubDefault::allchannels;
}

// As it is while no rule speaks of it.
User Accounts::first_default_user(std::uint64_t id) const {
  User user = fresh_default_user(id);
  if (const std::string password = config_.requirepass.get(); !password.empty())
    (void)user.apply(">" + password, true);
  return user;
}

std::shared_ptr<const Users> Accounts::users() const {
  const std::lock_guard lock(mutex_);
  return users_;
}

// Without lines where aclfile has the users, and without the default user while it is as it would
// be anyway: its password may have been kept out of files on purpose.
std::string Accounts::config_text(const Users& users) const {
  if (!config_.aclfile.get().empty()) return {};
  std::string text;
  for (const auto& [name, user] : users.by_name) {
    const std::string rules = user->describe();
    if (name == default_user_name && rules == first_default_user(0).describe()) continue;
    const auto words = split_blanks(rules);
    text += quote_word(name) + " " + joined_words(words) + "\n";
  }
  return text;
}

void Accounts::publish(Users&& users, bool here) {
  config_.user.text().store(config_text(users));
  if (here && told_) {
    const auto before = this->users();
    for (const auto& [name, user] : before->by_name) {
      if (!users.find(name)) told_(name, std::nullopt);
    }
    for (const auto& [name, user] : users.by_name) {
      const UserPtr old = before->find(name);
      const std::string rules = user->describe();
      if (!old || old->describe() != rules) told_(name, rules);
    }
  }
  {
    const std::lock_guard lock(mutex_);
    users_ = std::make_shared<const Users>(std::move(users));
  }
  changed_();
}

// ---- start

Result<void> Accounts::load() {
  const std::lock_guard lock(changes_);
  const std::uint64_t id = users()->default_user()->id();
  const bool lines = !config_.user.lines().empty();
  if (lines && !config_.aclfile.get().empty()) {
    return Error(Errc::config,
                 "there are 'user' lines in the configuration, and an aclfile: users are kept in "
                 "one of them, not in both");
  }
  Users all;
  if (config_.aclfile.get().empty()) {
    all.by_name.emplace(default_user_name, std::make_shared<const User>(first_default_user(id)));
    if (auto loaded = load_lines(all); !loaded) return loaded;
  } else {
    auto loaded = read_file(first_default_user(id));
    if (!loaded) return loaded.error();
    all = std::move(*loaded);
  }
  for (const auto& [name, user] : all.by_name) {
    if (!user->enabled())
      LOG_NOTICE("the user '%s' is off: nobody can authenticate as this user", name.c_str());
  }
  publish(std::move(all), false);
  return {};
}

// Rules are not shown in errors: they may be passwords.
Result<void> Accounts::load_lines(Users& all) {
  std::vector<std::string> seen;
  for (const std::string& line : config_.user.lines()) {
    const auto words = split_words(line).value_or(std::vector<std::string>());
    if (words.empty()) continue;
    const std::string& name = words.front();
    const std::string who = "user '" + name + "': ";
    if (has_blank(name)) return Error(Errc::config, who + "blanks are not allowed in names");
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
      return Error(Errc::config, who +
                                     "Duplicate user found. A user can only be defined once in "
                                     "config files");
    }
    seen.push_back(name);
    std::vector<std::string> rules;
    if (merge_selectors(std::span(words).subspan(1), rules))
      return Error(Errc::config, who + "Unmatched parenthesis in selector definition");
    const UserPtr old = all.find(name);
    User user(name, old ? old->id() : next_id_++, all_channels());
    if (old) (void)user.apply("reset", all_channels());
    for (const std::string& rule : rules) {
      const auto error = user.apply(rule, all_channels());
      if (!error) continue;
      const bool plain = *error == RuleError::unknown_command;
      return Error(Errc::config, who + (plain ? "'" + rule + "': " : std::string()) +
                                     std::string(rule_error_text(*error)));
    }
    all.by_name[name] = std::make_shared<const User>(std::move(user));
  }
  return {};
}

// default_user: what there is when the file does not say; its id stays in any case, because every
// connection begins as it.
Result<Users> Accounts::read_file(const User& default_user) {
  const std::string path = config_.aclfile.get();
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return Error(Errc::err, "Error loading ACLs, opening file '" + path +
                                "': " + std::string(std::strerror(errno)));
  }
  std::ostringstream text;
  text << in.rdbuf();
  auto read = parse_user_file(text.str(), path, all_channels(), next_id_);
  if (!read) return read;
  const UserPtr given = read->find(default_user_name);
  read->by_name[std::string(default_user_name)] = std::make_shared<const User>(
      given ? given->as(std::string(default_user_name), default_user.id()) : default_user);
  return read;
}

// ---- changes

Result<void> Accounts::set(std::string_view name, std::span<const std::string> rules) {
  const std::lock_guard lock(changes_);
  Users all = *users();
  const UserPtr old = all.find(name);
  User user = old ? *old : User(std::string(name), next_id_++, all_channels());
  if (auto done = set_rules(user, rules, all_channels()); !done) return done;
  all.by_name[std::string(name)] = std::make_shared<const User>(std::move(user));
  publish(std::move(all), true);
  return {};
}

std::size_t Accounts::remove(std::span<const std::string_view> names) {
  const std::lock_guard lock(changes_);
  Users all = *users();
  std::size_t removed = 0;
  for (const std::string_view name : names) removed += all.by_name.erase(std::string(name));
  if (removed > 0) publish(std::move(all), true);
  return removed;
}

Result<void> Accounts::load_file() {
  if (config_.aclfile.get().empty()) return Error(Errc::err, no_file);
  const std::lock_guard lock(changes_);
  auto loaded = read_file(first_default_user(users()->default_user()->id()));
  if (!loaded) return loaded.error();
  publish(std::move(*loaded), true);
  return {};
}

Result<void> Accounts::save_file() const {
  const std::string path = config_.aclfile.get();
  if (path.empty()) return Error(Errc::err, no_file);
  const std::lock_guard lock(changes_);
  auto written = replace_file(path, user_file_text(*users()));
  if (written) return {};
  LOG_WARNING("aclfile %s cannot be written: %s", path.c_str(),
              std::string(written.error().text()).c_str());
  return Error(Errc::err,
               "There was an error trying to save the ACLs. Please check the server logs for more "
               "information");
}

void Accounts::take_requirepass() {
  const std::lock_guard lock(changes_);
  Users all = *users();
  User user = *all.default_user();
  const std::string password = config_.requirepass.get();
  (void)user.apply("resetpass", true);
  (void)user.apply(password.empty() ? "nopass" : ">" + password, true);
  all.by_name[std::string(default_user_name)] = std::make_shared<const User>(std::move(user));
  publish(std::move(all), true);
}

void Accounts::take(const std::string& name,
                    const std::function<std::optional<std::string>()>& rules) {
  const std::lock_guard lock(changes_);
  const auto text = rules();
  Users all = *users();
  const UserPtr old = all.find(name);
  if (!text) {
    if (!old || name == default_user_name) return;
    all.by_name.erase(name);
    return publish(std::move(all), false);
  }
  if (old && old->describe() == *text) return;
  User user(name, old ? old->id() : next_id_++, all_channels());
  (void)user.apply("reset", all_channels());
  std::vector<std::string> words;
  bool good = !has_blank(name) && !merge_selectors(split_blanks(*text), words);
  for (const std::string& word : words) good = good && !user.apply(word, all_channels());
  if (!good) {
    LOG_WARNING("the ring's user '%s' cannot be taken: this node does not know all of its rules",
                name.c_str());
    return;
  }
  all.by_name[name] = std::make_shared<const User>(std::move(user));
  publish(std::move(all), false);
}

}  // namespace gyre
