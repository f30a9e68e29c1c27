// UserRights: what a script's calls are asked about: the rights of the user who runs it.
//
// Made where the client is connected, when its user may not do everything; read on the thread and
// the node where the script runs.
#pragma once

#include <string>
#include <string_view>

#include "acl/user.h"
#include "shard/script.h"

namespace gyre {

class UserRights final : public ScriptRights {
 public:
  // client: its line of CLIENT LIST, for ACL LOG.
  UserRights(UserPtr user, std::string client)
      : user_(std::move(user)), client_(std::move(client)) {}

  std::optional<Error> refuses(const CommandSpec& spec, Args args) const override;
  std::string text() const override;
  static ScriptRightsPtr from_text(std::string_view text);

  const User& user() const { return *user_; }
  const std::string& client() const { return client_; }

 private:
  UserPtr user_;
  std::string client_;
};

// Why SORT may not take its BY or GET option: it reads keys that its arguments do not name.
std::optional<Error> denied_option(const User& user, const CommandSpec& spec, Args args);

}  // namespace gyre
