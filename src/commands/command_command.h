// COMMAND: what the table says of itself, in the shapes of Redis 7.0.
//
// Everything is derived from the rows: flags, ACL categories, key specs, subcommands. Left out of
// COMMAND DOCS are arguments, history and complexity, which no row has. Left out of the tips are
// request and response policies: they tell a cluster client to ask every shard and to join the
// answers, but here any node answers for the whole ring.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resp/reply.h"
#include "shard/command.h"

namespace gyre {

// Answers COMMAND and its subcommands; the arity was checked.
void command_reply(Args args, Reply& reply);

// "string", "sorted-set", ...: the row's own group, or that of the family it stands in.
std::string_view command_group(const CommandSpec& spec);
// "@read @string @fast" one by one, with what follows from flags and group, in Redis' order.
std::vector<std::string_view> command_categories(const CommandSpec& spec);
// All there are, in Redis' order: "@keyspace", "@read", ...
std::span<const std::string_view> command_category_names();
// Redis' names of the flags that a client may see.
std::vector<std::string_view> command_flags(const CommandSpec& spec);
// The name as clients see it: "config|get".
std::string command_shown_name(const CommandSpec& spec);
// Whether a row is only the name before its subcommands.
bool command_is_container(const CommandSpec& spec);

}  // namespace gyre
