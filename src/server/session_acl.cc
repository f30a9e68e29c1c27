// ACL: who may do what on this node.

#include <array>
#include <cstdio>

#include <openssl/rand.h>

#include "commands/command_command.h"
#include "commands/parse.h"
#include "commands/table.h"
#include "server/session_parts.h"

namespace gyre {
namespace {

void setuser(SessionCall& call) {
  const std::string_view name = call.args[2];
  if (has_blank(name)) return call.reply.error("Usernames can't contain spaces or null characters");
  const std::vector<std::string> rules(call.args.begin() + 3, call.args.end());
  const auto done = call.server().accounts().set(name, rules);
  if (!done) return call.reply.error(done.error());
  answer_when_told(call, [](Reply& reply) { reply.ok(); });
}

void deluser(SessionCall& call) {
  const Args names = call.args.subspan(2);
  for (const std::string_view name : names) {
    if (name == default_user_name) return call.reply.error("The 'default' user cannot be removed");
  }
  const auto removed = static_cast<std::int64_t>(call.server().accounts().remove(names));
  answer_when_told(call, [removed](Reply& reply) { reply.integer(removed); });
}

void put_selector(Reply& reply, const Selector& selector) {
  reply.bulk("commands");
  reply.bulk(selector.describe_commands());
  reply.bulk("keys");
  reply.bulk(selector.describe_keys());
  reply.bulk("channels");
  reply.bulk(selector.describe_channels());
}

void getuser(SessionCall& call) {
  Reply& reply = call.reply;
  const UserPtr user = call.server().accounts().users()->find(call.args[2]);
  if (!user) return reply.null();
  reply.map(6);
  reply.bulk("flags");
  const auto flags = user->flags();
  reply.set(flags.size());
  for (const std::string_view flag : flags) reply.bulk(flag);
  reply.bulk("passwords");
  reply.array(user->passwords().size());
  for (const std::string& hash : user->passwords()) reply.bulk(hash);
  put_selector(reply, user->root());
  reply.bulk("selectors");
  reply.array(user->further_selectors().size());
  for (const Selector& selector : user->further_selectors()) {
    reply.map(3);
    put_selector(reply, selector);
  }
}

void list(SessionCall& call) {
  const auto users = call.server().accounts().users();
  call.reply.array(users->by_name.size());
  for (const auto& [name, user] : users->by_name)
    call.reply.bulk("user " + name + " " + user->describe());
}

void users(SessionCall& call) {
  const auto all = call.server().accounts().users();
  call.reply.array(all->by_name.size());
  for (const auto& [name, user] : all->by_name) call.reply.bulk(name);
}

void whoami(SessionCall& call) {
  call.reply.bulk(call.connection.user->name());
}

// ACL CAT [category]
void cat(SessionCall& call) {
  Reply& reply = call.reply;
  if (call.args.size() > 3) return reply.error(wrong_subcommand(call.args));
  if (call.args.size() == 2) {
    const auto names = command_category_names();
    reply.array(names.size());
    for (const std::string_view name : names) reply.bulk(name.substr(1));
    return;
  }
  const auto category = Catalog::category(call.args[2]);
  if (!category) {
    return reply.error("Unknown category '" + std::string(call.args[2].substr(0, 128)) + "'");
  }
  const std::size_t mark = reply.deferred();
  std::size_t n = 0;
  const auto put = [&](std::uint16_t index) {
    const CatalogRow& row = Catalog::get().row(index);
    if (!(row.categories & *category)) return;
    reply.bulk(command_shown_name(*row.spec));
    ++n;
  };
  for (const std::uint16_t index : Catalog::get().top_level()) {
    put(index);
    for (const std::uint16_t sub : Catalog::get().row(index).subcommands) put(sub);
  }
  reply.finish_array(mark, n);
}

// ACL GENPASS [bits]: from the system's generator for secrets.
void genpass(SessionCall& call) {
  constexpr std::int64_t bits_max = 4096;
  if (call.args.size() > 3) return call.reply.error(wrong_subcommand(call.args));
  std::int64_t bits = 256;
  if (call.args.size() == 3) {
    const auto given = int_of(call, 2);
    if (!given) return;
    bits = *given;
  }
  if (bits <= 0 || bits > bits_max) {
    return call.reply.error(
        "ACL GENPASS argument must be the number of bits for the output password, a positive "
        "number up to 4096");
  }
  std::array<unsigned char, bits_max / 8> bytes;
  const auto digits = static_cast<std::size_t>((bits + 3) / 4);
  if (RAND_bytes(bytes.data(), static_cast<int>((digits + 1) / 2)) != 1)
    return call.reply.error("the system has no random bytes");
  constexpr std::string_view hex = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < digits; ++i)
    text += hex[i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15];
  call.reply.bulk(text);
}

// A double as Redis writes it here, with all digits.
void put_seconds(Reply& reply, UnixMs ms) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", static_cast<double>(ms) / 1000);
  if (reply.protocol() == 2) return reply.bulk(text);
  reply.raw("," + std::string(text) + "\r\n");
}

// ACL LOG [count | RESET]
void log(SessionCall& call) {
  Reply& reply = call.reply;
  AclLog& entries = call.server().accounts().log;
  if (call.args.size() > 3) return reply.error(wrong_subcommand(call.args));
  std::int64_t count = 10;
  if (call.args.size() == 3) {
    if (is_word(call.args[2], "reset")) return entries.clear(), reply.ok();
    const auto given = int_of(call, 2);
    if (!given) return;
    count = std::max<std::int64_t>(*given, 0);
  }
  const auto newest = entries.newest(static_cast<std::size_t>(count));
  reply.array(newest.size());
  for (const AclEntry& entry : newest) {
    reply.map(7);
    reply.bulk("count");
    reply.integer(static_cast<std::int64_t>(entry.count));
    reply.bulk("reason");
    reply.bulk(entry.reason);
    reply.bulk("context");
    reply.bulk(entry.context);
    reply.bulk("object");
    reply.bulk(entry.object);
    reply.bulk("username");
    reply.bulk(entry.user);
    reply.bulk("age-seconds");
    put_seconds(reply, std::max<UnixMs>(call.worker.wall_ms() - entry.at_ms, 0));
    reply.bulk("client-info");
    reply.bulk(entry.client);
  }
}

void load(SessionCall& call) {
  if (const auto done = call.server().accounts().load_file(); !done)
    return call.reply.error(done.error());
  answer_when_told(call, [](Reply& reply) { reply.ok(); });
}

void save(SessionCall& call) {
  const auto done = call.server().accounts().save_file();
  done ? call.reply.ok() : call.reply.error(done.error());
}

// ACL DRYRUN user command ...
void dryrun(SessionCall& call) {
  Reply& reply = call.reply;
  const Args line = call.args.subspan(3);
  const UserPtr user = call.server().accounts().users()->find(call.args[2]);
  if (!user) return reply.error("User '" + std::string(call.args[2]) + "' not found");
  const CommandSpec* spec = find_command(line);
  if (!spec || !Catalog::get().row(*spec).listed ||
      (command_is_container(*spec) && line.size() > 1)) {
    return reply.error("Command '" + std::string(line[0]) + "' not found");
  }
  if (!arity_ok(*spec, line.size())) return reply.error(wrong_arity(*spec));
  const Verdict verdict = user->check(*spec, line);
  if (verdict.why == Denied::nothing) return reply.ok();
  const std::string no = "This user has no permissions to ";
  if (verdict.why == Denied::command)
    return reply.bulk(no + "run the '" + command_shown_name(*spec) + "' command");
  reply.bulk(no + "access the '" + std::string(line[verdict.at]) + "' " +
             (verdict.why == Denied::key ? "key" : "channel"));
}

constexpr auto rows = std::to_array<SessionRow>({
    {"ACL|SETUSER", setuser},
    {"ACL|DELUSER", deluser},
    {"ACL|GETUSER", getuser},
    {"ACL|LIST", list},
    {"ACL|USERS", users},
    {"ACL|WHOAMI", whoami},
    {"ACL|CAT", cat},
    {"ACL|GENPASS", genpass},
    {"ACL|LOG", log},
    {"ACL|LOAD", load},
    {"ACL|SAVE", save},
    {"ACL|DRYRUN", dryrun},
});

}  // namespace

std::span<const SessionRow> acl_handlers() {
  return rows;
}

}  // namespace gyre
