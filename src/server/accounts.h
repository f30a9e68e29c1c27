// Accounts: this node's users, and where they are kept.
//
// Users come from the `user` lines of the configuration or from aclfile, never from both. A change
// makes a new Users (acl/user.h) and tells the server; each thread takes it over at its next look
// (Worker::refresh_users). The option `user` always says what the users are, so that CONFIG REWRITE
// writes them like any other option; passwords stand there as hashes.
//
// What a command changes here is said to `told`, which takes it to the other nodes of a ring; what
// they changed comes by take(). The files are each node's own.
//
// requirepass is the default user's password: it is set when the option is, and whatever rules say
// afterwards stands.
//
// Threading: any; one change at a time (a lock). users() is taken once a turn, not per command.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "acl/user.h"
#include "config/config.h"
#include "server/acl_log.h"

namespace gyre {

class Accounts {
 public:
  // changed: called after every change, with the new users in place.
  Accounts(Config& config, std::function<void()> changed);

  // A command has changed a user, under the lock; rules as describe() has them, nothing: removed.
  using Told = std::function<void(std::string_view name, std::optional<std::string> rules)>;
  void set_told(Told told) { told_ = std::move(told); }

  // At start. Errors: what to tell the user before ending.
  Result<void> load();

  std::shared_ptr<const Users> users() const;

  // ACL SETUSER: makes the user when there is none.
  Result<void> set(std::string_view name, std::span<const std::string> rules);
  // ACL DELUSER: how many there were.
  std::size_t remove(std::span<const std::string_view> names);
  // ACL LOAD and SAVE; without aclfile both are errors.
  Result<void> load_file();
  Result<void> save_file() const;
  // requirepass has changed.
  void take_requirepass();
  // Another node has changed a user. rules: asked under the lock, nothing when it was removed.
  void take(const std::string& name, const std::function<std::optional<std::string>()>& rules);

  AclLog log;

 private:
  bool all_channels() const;
  User first_default_user(std::uint64_t id) const;
  Result<void> load_lines(Users& users);
  Result<Users> read_file(const User& default_user);
  // here: by a command, so it is told.
  void publish(Users&& users, bool here);
  std::string config_text(const Users& users) const;

  Config& config_;
  std::function<void()> changed_;
  Told told_;
  mutable std::mutex changes_;  // held while users are made anew
  mutable std::mutex mutex_;    // of users_
  std::shared_ptr<const Users> users_;
  std::uint64_t next_id_ = 1;
};

}  // namespace gyre
