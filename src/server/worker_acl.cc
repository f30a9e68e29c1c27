// What a client's user may do, and what becomes of clients when users change.

#include <algorithm>

#include "base/numbers.h"
#include "commands/command_command.h"
#include "server/server.h"
#include "server/session_parts.h"
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

// The option by which SORT reads keys that its arguments do not name.
std::optional<std::string_view> wandering_option(Args args) {
  for (std::size_t i = 2; i + 1 < args.size(); ++i) {
    if (is_word(args[i], "limit")) {
      i += 2;
    } else if (is_word(args[i], "store")) {
      ++i;
    } else if (is_word(args[i], "get")) {
      return "GET";
    } else if (is_word(args[i], "by")) {
      if (args[++i].find('*') != std::string_view::npos) return "BY";
    }
  }
  return std::nullopt;
}

void note(Worker& worker, Connection& c, AclEntry&& entry, bool in_multi) {
  Server& server = worker.server();
  entry.context = in_multi ? "multi" : "toplevel";
  entry.client = client_line(worker, c, {});
  entry.client.pop_back();  // its line end
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
  // What a script calls is not asked about where it runs, which may be another node.
  if (spec.flags & flag::script_call) {
    note_denied(c, Denied::command, command_shown_name(spec), at_exec || c.transaction.open);
    return Error(Errc::no_perm,
                 "scripts and functions run only for users who may do everything: all commands, "
                 "keys and channels");
  }
  if (!spec.wanders) return std::nullopt;
  const auto option = wandering_option(args);
  if (!option || c.user->may_touch_all(spec, args, access::read)) return std::nullopt;
  return Error(Errc::err, std::string(*option) +
                              " option of SORT denied due to insufficient ACL permissions.");
}

std::optional<Error> Worker::denied_read(Connection& c, const CommandSpec& spec,
                                         std::string_view key) {
  if (c.unrestricted || c.user->may_touch(key, access::read)) return std::nullopt;
  note_denied(c, Denied::key, key, c.transaction.open);
  return Error(Errc::no_perm, refusal(Denied::key, spec));
}

void Worker::note_denied(Connection& c, Denied why, std::string_view object, bool in_multi) {
  auto& counter = why == Denied::key       ? metrics_.acl_access_denied_key
                  : why == Denied::channel ? metrics_.acl_access_denied_channel
                                           : metrics_.acl_access_denied_cmd;
  counter.add();
  note(*this, c, {.reason = reason_of(why), .object = std::string(object), .user = c.user->name()},
       in_multi);
}

void Worker::note_denied_login(Connection& c, std::string_view command, std::string_view name) {
  metrics_.acl_access_denied_auth.add();
  note(*this, c, {.reason = "auth", .object = std::string(command), .user = std::string(name)},
       c.transaction.open);
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
