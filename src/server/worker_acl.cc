// What a client's user may do, and what becomes of clients when users change.

#include <algorithm>

#include "commands/command_command.h"
#include "server/server.h"
#include "server/session_parts.h"
#include "server/user_rights.h"
#include "server/worker.h"

namespace gyre {
namespace {

std::string_view reason_of(Denied why) {
  return why == Denied::key ? "key" : why == Denied::channel ? "channel" : "command";
}

std::string refusal(Denied why, const CommandSpec& spec) {
  const std::string user = "this user has no permissions to ";
  if (why == Denied::key) return user + "access one of the keys used as arguments";
  if (why == Denied::channel) return user + "access one of the channels used as arguments";
  return user + "run the '" + command_shown_name(spec) + "' command";
}

std::string refusal_at_exec(Denied why) {
  std::string text =
      "ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
      "This command is no longer allowed for the following reason: ";
  if (why == Denied::key) return text + "no permission to touch the specified keys";
  if (why == Denied::channel)
    return text + "no permission to access one of the channels used as arguments";
  return text + "no permission to execute the command or subcommand";
}

std::string line_of(Worker& worker, Connection& c) {
  std::string line = client_line(worker, c, {});
  line.pop_back();  // its line end
  return line;
}

void note(Worker& worker, AclEntry&& entry) {
  Server& server = worker.server();
  entry.at_ms = worker.wall_ms();
  server.accounts().log.note(std::move(entry),
                             static_cast<std::size_t>(server.config().acllog_max_len.get()));
}

// It listens to something that its user may no longer hear.
bool listens_to_forbidden(const Connection& c, const User& now) {
  const auto any = [&](Listening what) {
    const auto& names = c.subscriptions->of(what);
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return !now.may_listen(name, what == Listening::pattern);
    });
  };
  return c.subscribed() && !now.listens_as(*c.user) &&
         (any(Listening::channel) || any(Listening::pattern) || any(Listening::shard));
}

}  // namespace

std::optional<Error> Worker::denied(Connection& c, const CommandSpec& spec, Args args,
                                    bool at_exec) {
  if (c.unrestricted) return std::nullopt;
  const Verdict verdict = c.user->check(spec, args);
  if (verdict.why != Denied::nothing) {
    note_denied(
        c, verdict.why,
        verdict.why == Denied::command ? command_shown_name(spec) : std::string(args[verdict.at]),
        at_exec || c.transaction.open);
    return Error(Errc::no_perm,
                 at_exec ? refusal_at_exec(verdict.why) : refusal(verdict.why, spec));
  }
  return denied_option(*c.user, spec, args);
}

ScriptRightsPtr Worker::rights_of(Connection& c) {
  if (c.unrestricted) return nullptr;
  return std::make_shared<const UserRights>(c.user, line_of(*this, c));
}

ScriptRightsPtr Worker::rights_from(std::string_view text) {
  return UserRights::from_text(text);
}

std::optional<Error> Worker::denied_read(Connection& c, const CommandSpec& spec,
                                         std::string_view key) {
  if (c.unrestricted || c.user->may_touch(key, access::read)) return std::nullopt;
  note_denied(c, Denied::key, key, c.transaction.open);
  return Error(Errc::no_perm, refusal(Denied::key, spec));
}

void Worker::count_denied(Denied why) {
  auto& counter = why == Denied::key       ? metrics_.acl_access_denied_key
                  : why == Denied::channel ? metrics_.acl_access_denied_channel
                                           : metrics_.acl_access_denied_cmd;
  counter.add();
}

void Worker::note_denied(Connection& c, Denied why, std::string_view object, bool in_multi) {
  count_denied(why);
  note(*this, {.reason = reason_of(why),
               .context = in_multi ? "multi" : "toplevel",
               .object = std::string(object),
               .user = c.user->name(),
               .client = line_of(*this, c)});
}

void Worker::note_denied_call(const UserRights& rights, const CommandSpec& spec, Args args) {
  const Verdict verdict = rights.user().check(spec, args);
  if (verdict.why == Denied::nothing) return;  // an option of SORT, which Redis does not log
  count_denied(verdict.why);
  note(*this, {.reason = reason_of(verdict.why),
               .context = "lua",
               .object = verdict.why == Denied::command ? command_shown_name(spec)
                                                        : std::string(args[verdict.at]),
               .user = rights.user().name(),
               .client = rights.client()});
}

void Worker::note_denied_login(Connection& c, std::string_view command, std::string_view name) {
  metrics_.acl_access_denied_auth.add();
  note(*this, {.reason = "auth",
               .context = c.transaction.open ? "multi" : "toplevel",
               .object = std::string(command),
               .user = std::string(name),
               .client = line_of(*this, c)});
}

// A user is gone, or may no longer listen: its clients are closed. Whoever runs the command that
// did it still reads the answer.
void Worker::refresh_users() {
  auto users = server_.accounts().users();
  if (users == users_) return;
  users_ = std::move(users);
  std::vector<Connection*> out;
  for (const auto& [id, c] : connections_) {
    const UserPtr now = users_->find(c->user->name());
    const bool gone = !now || now->id() != c->user->id();
    if (gone || listens_to_forbidden(*c, *now)) {
      out.push_back(c.get());
    } else if (now != c->user || !c->authenticated) {
      // Where the default user asks for no password, who has given none is in.
      c->become(now, c->authenticated || (users_->open() && now->name() == default_user_name));
    }
  }
  for (Connection* c : out) {
    c->become(users_->default_user(), false);
    c == acting_ ? void(c->closing = true) : closed(*c);
  }
}

}  // namespace gyre
