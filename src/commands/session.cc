// Commands that run at the connection: their rows, so that COMMAND, arity and ACLs know them. The
// server room has their handlers, by name. A container ("CONFIG") has no function; its subcommands
// are rows of their own ("CONFIG|GET").
//
// PING, ECHO and TIME touch no data either, but are plain functions: so they work inside MULTI.

#include <array>

#include "base/numbers.h"
#include "commands/table.h"

namespace gyre {
namespace {

void ping(CommandContext& ctx) {
  if (ctx.argc() > 2) return ctx.reply.error("wrong number of arguments for 'ping' command");
  ctx.argc() == 2 ? ctx.reply.bulk(ctx.arg(1)) : ctx.reply.simple("PONG");
}

void echo(CommandContext& ctx) {
  ctx.reply.bulk(ctx.arg(1));
}

// The time of the command, as everything else in it sees it: milliseconds.
void time_now(CommandContext& ctx) {
  ctx.reply.array(2);
  ctx.reply.bulk_int(ctx.now / 1000);
  ctx.reply.bulk_int(ctx.now % 1000 * 1000);
}

// The key, or with "" in its place those behind KEYS.
void migrate_keys(Args args, std::vector<std::size_t>& positions) {
  std::size_t first = 3, end = 4;
  for (std::size_t i = 6; args[3].empty() && i < args.size(); ++i) {
    if (equals_ignore_case(args[i], "auth")) {
      ++i;
    } else if (equals_ignore_case(args[i], "auth2")) {
      i += 2;
    } else if (equals_ignore_case(args[i], "keys")) {
      first = i + 1;
      end = args.size();
      break;
    }
  }
  for (; first < end; ++first) positions.push_back(first);
}

using namespace flag;
// Allowed while the store is being read and while the ring is down.
constexpr std::uint32_t up = loading | stale;

// What COMMAND tells of a row beside its flags.
struct Family {
  std::string_view group;
  std::string_view categories{};
};
constexpr Family connection{"connection", "@connection"};
constexpr Family server{"server"};
constexpr Family described{"server", "@connection"};
constexpr Family figures{"server", "@dangerous"};
constexpr Family administration{"server", "@admin @dangerous"};
constexpr Family counted{"server", "@keyspace"};
constexpr Family database{"server", "@keyspace @dangerous"};
constexpr Family transaction{"transactions", "@transaction"};
constexpr Family keys{"generic", "@keyspace"};
constexpr Family all_keys_at_once{"generic", "@keyspace @dangerous"};
constexpr Family functions{"scripting", "@scripting"};
constexpr Family cluster{"cluster"};
constexpr Family cluster_mode{"cluster", "@connection"};

// What Redis' tools would change of a cluster; here the ring comes from the configuration.
constexpr std::string_view by_hand = "Refused: slots are placed by the ring";

constexpr CommandSpec row(std::string_view name, int arity, std::uint32_t flags,
                          const Family& family, std::string_view since, std::string_view summary) {
  return {.name = name,
          .arity = arity,
          .flags = flags | session,
          .categories = family.categories,
          .group = family.group,
          .since = since,
          .summary = summary};
}
constexpr CommandSpec with_run(CommandSpec spec, CommandFunction run) {
  spec.flags &= ~session;
  spec.run = run;
  return spec;
}
constexpr CommandSpec with_keys(CommandSpec spec, KeyRange keys_range) {
  spec.keys = keys_range;
  return spec;
}

constexpr CommandSpec with_finder(CommandSpec spec, KeyRange keys_range, KeyFinder finder) {
  spec.keys = keys_range;
  spec.find_keys = finder;
  return spec;
}

constexpr auto rows = std::to_array<CommandSpec>({
    // Connection
    with_run(row("PING", -1, fast, connection, "1.0.0", "Answers PONG, or the given text"), ping),
    with_run(row("ECHO", 2, up | fast, connection, "1.0.0", "Answers the given text"), echo),
    row("AUTH", -2, noscript | up | fast | no_auth | allow_busy, connection, "1.0.0",
        "Authenticates the connection"),
    row("HELLO", -1, noscript | up | fast | no_auth | allow_busy, connection, "6.0.0",
        "Chooses the protocol and tells of the server"),
    row("QUIT", -1, noscript | up | fast | no_auth | allow_busy, connection, "1.0.0",
        "Closes the connection"),
    row("RESET", 1, noscript | up | fast | no_auth | allow_busy, connection, "6.2.0",
        "Puts the connection back into its first state"),
    row("SELECT", 2, up | fast, connection, "1.0.0", "Changes the database of the connection"),
    row("CLIENT", -2, 0, connection, "2.4.0", "Commands about connections"),
    row("CLIENT|ID", 2, noscript | up, connection, "5.0.0",
        "Returns the number of this connection"),
    row("CLIENT|INFO", 2, noscript | up, connection, "6.2.0", "Describes this connection"),
    row("CLIENT|LIST", -2, admin | noscript | up, connection, "2.4.0",
        "Describes all connections of this node"),
    row("CLIENT|GETNAME", 2, noscript | up, connection, "2.6.9",
        "Returns the name of this connection"),
    row("CLIENT|SETNAME", 3, noscript | up, connection, "2.6.9", "Names this connection"),
    row("CLIENT|SETINFO", 4, noscript | up, connection, "7.2.0",
        "Remembers the client library's name or version"),
    row("CLIENT|KILL", -3, admin | noscript | up, connection, "2.4.0", "Closes connections"),
    row("CLIENT|PAUSE", -3, admin | noscript | up, connection, "2.9.50",
        "Holds back the commands of clients for a while"),
    row("CLIENT|UNPAUSE", 2, admin | noscript | up, connection, "6.2.0", "Ends CLIENT PAUSE"),
    row("CLIENT|REPLY", 3, noscript | up, connection, "3.2.0", "Turns replies on or off"),
    row("CLIENT|NO-EVICT", 3, admin | noscript | up, connection, "7.0.0",
        "Keeps this connection when memory is short"),
    row("CLIENT|TRACKING", -3, noscript | up, connection, "6.0.0",
        "Tells this connection, or another, of changes to keys that it has read"),
    row("CLIENT|CACHING", 3, noscript | up, connection, "6.0.0",
        "Chooses whether the next command's keys are tracked"),
    row("CLIENT|GETREDIR", 2, noscript | up, connection, "6.0.0",
        "Tells where invalidations are sent"),
    row("CLIENT|TRACKINGINFO", 2, noscript | up, connection, "6.2.0",
        "Tells how this connection is tracked"),
    row("CLIENT|UNBLOCK", -3, admin | noscript | up, connection, "5.0.0",
        "Ends the blocking command of another connection"),
    row("CLIENT|HELP", 2, up, connection, "5.0.0", "Lists the subcommands"),
    // Users
    row("ACL", -2, 0, server, "6.0.0", "Commands about users and what they may do"),
    row("ACL|CAT", -2, noscript | up, server, "6.0.0",
        "Returns the categories of commands, or the commands of one"),
    row("ACL|DELUSER", -3, admin | noscript | up, server, "6.0.0", "Removes users"),
    row("ACL|DRYRUN", -4, admin | noscript | up, server, "7.0.0",
        "Tells whether a user could run a command"),
    row("ACL|GENPASS", -2, noscript | up, server, "6.0.0", "Returns a random password"),
    row("ACL|GETUSER", 3, admin | noscript | up, server, "6.0.0", "Describes a user"),
    row("ACL|LIST", 2, admin | noscript | up, server, "6.0.0",
        "Returns the users as lines of a configuration file"),
    row("ACL|LOAD", 2, admin | noscript | up, server, "6.0.0", "Reads the users from the ACL file"),
    row("ACL|LOG", -2, admin | noscript | up, server, "6.0.0",
        "Returns what was denied to users lately"),
    row("ACL|SAVE", 2, admin | noscript | up, server, "6.0.0", "Writes the users to the ACL file"),
    row("ACL|SETUSER", -3, admin | noscript | up, server, "6.0.0", "Makes or changes a user"),
    row("ACL|USERS", 2, admin | noscript | up, server, "6.0.0", "Returns the names of the users"),
    row("ACL|WHOAMI", 2, noscript | up, server, "6.0.0",
        "Returns the name of this connection's user"),
    row("ACL|HELP", 2, up, server, "6.0.0", "Lists the subcommands"),
    // The server
    with_run(row("TIME", 1, up | fast, server, "2.6.0", "Returns the server's time"), time_now),
    row("WAIT", 3, noscript, {"generic", "@connection"}, "3.0.0",
        "Waits until replicas have this connection's last write"),
    row("CONFIG", -2, 0, server, "2.0.0", "Commands about the configuration"),
    row("CONFIG|GET", -3, admin | noscript | up, server, "2.0.0", "Returns options by pattern"),
    row("CONFIG|SET", -4, admin | noscript | up, server, "2.0.0", "Changes options"),
    row("CONFIG|REWRITE", 2, admin | noscript | up, server, "2.8.0",
        "Writes the options back to the configuration file"),
    row("CONFIG|RESETSTAT", 2, admin | noscript | up, server, "2.0.0",
        "Sets the statistics to zero"),
    row("CONFIG|HELP", 2, up, server, "5.0.0", "Lists the subcommands"),
    row("INFO", -1, up, figures, "1.0.0", "Returns figures about the server"),
    row("COMMAND", -1, up, described, "2.8.13", "Describes all commands"),
    row("COMMAND|COUNT", 2, up, described, "2.8.13", "Returns the number of commands"),
    row("COMMAND|DOCS", -2, up, described, "7.0.0", "Returns the documentation of commands"),
    row("COMMAND|GETKEYS", -4, up, described, "2.8.13", "Returns the keys in a command line"),
    row("COMMAND|GETKEYSANDFLAGS", -4, up, described, "7.0.0",
        "Returns the keys in a command line and how they are used"),
    row("COMMAND|INFO", -2, up, described, "2.8.13", "Describes the named commands"),
    row("COMMAND|LIST", -2, up, described, "7.0.0", "Returns the names of the commands"),
    row("COMMAND|HELP", 2, up, described, "5.0.0", "Lists the subcommands"),
    row("DEBUG", -2, admin | noscript | up, server, "1.0.0", "Commands for tests"),
    row("SHUTDOWN", -1, admin | noscript | up | no_multi | allow_busy, server, "1.0.0",
        "Ends this node cleanly"),
    row("MONITOR", 1, admin | noscript | up, server, "1.0.0",
        "Shows every command that this node's clients run"),
    row("SAVE", 1, admin | noscript | no_multi, administration, "1.0.0",
        "Writes all keys into an RDB file, and answers when it is there"),
    row("BGSAVE", -1, admin | noscript, administration, "1.0.0",
        "Begins to write all keys into an RDB file"),
    row("BGREWRITEAOF", 1, admin | noscript, administration, "1.0.0",
        "Begins to write the store on the disk anew, without what was overwritten"),
    row("LASTSAVE", 1, up | fast, administration, "1.0.0",
        "Returns when the data last reached the disk"),
    row("ROLE", 1, noscript | up | fast, administration, "2.8.12", "Returns the node's role"),
    // Redis' replication: one snapshot is all there is of it
    row("SYNC", 1, admin | noscript | no_multi, administration, "1.0.0",
        "Sends this node's keys and functions as an RDB file"),
    row("PSYNC", -3, admin | noscript | no_multi, administration, "2.8.0", "Refused: see SYNC"),
    row("REPLCONF", -1, admin | noscript | up | allow_busy, administration, "3.0.0",
        "Tells what a client of SYNC understands and wants"),
    row("REPLICAOF", 3, admin | noscript | stale, administration, "5.0.0",
        "Refused: the nodes of a ring are equals"),
    row("SLAVEOF", 3, admin | noscript | stale, administration, "1.0.0",
        "Refused: the nodes of a ring are equals"),
    row("FAILOVER", -1, admin | noscript | stale, administration, "6.2.0",
        "Refused: nodes take over by themselves"),
    with_finder(row("MIGRATE", -6, write, all_keys_at_once, "2.6.0",
                    "Sends keys to another server and removes them here"),
                {3, 3, 1}, migrate_keys),
    row("MODULE", -2, 0, server, "4.0.0", "Commands about modules"),
    row("MODULE|LIST", 2, admin | noscript, server, "4.0.0", "Lists the loaded modules"),
    row("MODULE|LOAD", -3, admin | noscript, server, "4.0.0", "Refused: there are no modules"),
    row("MODULE|LOADEX", -3, admin | noscript, server, "7.0.0", "Refused: there are no modules"),
    row("MODULE|UNLOAD", 3, admin | noscript, server, "4.0.0", "Refused: there are no modules"),
    row("MODULE|HELP", 2, up, server, "5.0.0", "Lists the subcommands"),
    row("MEMORY", -2, 0, server, "4.0.0", "Commands about memory"),
    row("MEMORY|STATS", 2, 0, server, "4.0.0", "Returns what the node's memory is used for"),
    row("MEMORY|DOCTOR", 2, 0, server, "4.0.0", "Tells in words what is unusual about memory"),
    row("MEMORY|PURGE", 2, 0, server, "4.0.0", "Gives memory back to the system"),
    row("MEMORY|MALLOC-STATS", 2, 0, server, "4.0.0", "Returns the allocator's own report"),
    row("MEMORY|HELP", 2, up, server, "4.0.0", "Lists the subcommands"),
    row("SLOWLOG", -2, 0, server, "2.2.12", "Commands about the slow log"),
    row("SLOWLOG|GET", -2, admin | up, server, "2.2.12", "Returns the entries of the slow log"),
    row("SLOWLOG|LEN", 2, admin | up, server, "2.2.12", "Returns the length of the slow log"),
    row("SLOWLOG|RESET", 2, admin | up, server, "2.2.12", "Empties the slow log"),
    row("SLOWLOG|HELP", 2, up, server, "6.2.0", "Lists the subcommands"),
    row("LATENCY", -2, 0, server, "2.8.13", "Commands about latency"),
    row("LATENCY|LATEST", 2, admin | noscript | up, server, "2.8.13",
        "Returns the last latency events"),
    row("LATENCY|HISTORY", 3, admin | noscript | up, server, "2.8.13",
        "Returns the samples of one latency event"),
    row("LATENCY|DOCTOR", 2, admin | noscript | up, server, "2.8.13",
        "Tells in words what was slow"),
    row("LATENCY|HISTOGRAM", -2, admin | noscript | up, server, "7.0.0",
        "Returns how long commands took, by powers of two"),
    row("LATENCY|RESET", -2, admin | noscript | up, server, "2.8.13", "Forgets latency events"),
    row("LATENCY|HELP", 2, up, server, "2.8.13", "Lists the subcommands"),
    // Transactions
    row("MULTI", 1, noscript | up | fast | allow_busy, transaction, "1.2.0",
        "Begins a transaction"),
    row("EXEC", 1, noscript | up | skip_slowlog, transaction, "1.2.0", "Runs the queued commands"),
    row("DISCARD", 1, noscript | up | fast | allow_busy, transaction, "2.0.0",
        "Forgets the queued commands"),
    with_keys(row("WATCH", -2, noscript | up | fast | allow_busy, transaction, "2.2.0",
                  "Makes the next EXEC depend on keys"),
              all_keys),
    row("UNWATCH", 1, noscript | up | fast | allow_busy, transaction, "2.2.0",
        "Forgets the watched keys"),
    // Over all slots
    row("KEYS", 2, read | all_slots, all_keys_at_once, "1.0.0",
        "Returns the keys that match a pattern"),
    row("SCAN", -2, read | all_slots, keys, "2.8.0", "Walks the keys in parts"),
    row("RANDOMKEY", 1, read | all_slots, keys, "1.0.0", "Returns a random key"),
    // Whole databases
    row("DBSIZE", 1, read | fast | all_slots, counted, "1.0.0", "Returns the number of keys"),
    row("FLUSHDB", -1, write | all_slots, database, "1.0.0", "Removes all keys of the database"),
    row("FLUSHALL", -1, write | all_slots, database, "1.0.0", "Removes all keys of all databases"),
    // Scripting
    row("SCRIPT", -2, 0, functions, "2.6.0", "Commands about scripts"),
    row("SCRIPT|LOAD", 3, noscript | stale, functions, "2.6.0", "Makes a script known"),
    row("SCRIPT|EXISTS", -3, noscript, functions, "2.6.0", "Tells which scripts are known"),
    row("SCRIPT|FLUSH", -2, noscript, functions, "2.6.0", "Forgets all scripts"),
    row("SCRIPT|KILL", 2, noscript | allow_busy, functions, "2.6.0", "Ends the script that runs"),
    row("SCRIPT|DEBUG", 3, noscript, functions, "3.2.0", "Refused: there is no debugger"),
    row("SCRIPT|HELP", 2, up, functions, "5.0.0", "Lists the subcommands"),
    row("FUNCTION", -2, 0, functions, "7.0.0", "Commands about functions"),
    row("FUNCTION|LOAD", -3, write | denyoom | noscript, functions, "7.0.0",
        "Makes a library of functions known"),
    row("FUNCTION|DELETE", 3, write | noscript, functions, "7.0.0",
        "Removes a library and its functions"),
    row("FUNCTION|FLUSH", -2, write | noscript, functions, "7.0.0", "Removes all functions"),
    row("FUNCTION|LIST", -2, noscript, functions, "7.0.0", "Lists the functions"),
    row("FUNCTION|STATS", 2, noscript | allow_busy, functions, "7.0.0",
        "Tells of the function that runs"),
    row("FUNCTION|DUMP", 2, noscript, functions, "7.0.0", "Returns all libraries as one value"),
    row("FUNCTION|RESTORE", -3, write | denyoom | noscript, functions, "7.0.0",
        "Makes the libraries of a dump known"),
    row("FUNCTION|KILL", 2, noscript | allow_busy, functions, "7.0.0",
        "Ends the function that runs"),
    row("FUNCTION|HELP", 2, up, functions, "7.0.0", "Lists the subcommands"),
    // The ring, as Redis Cluster clients see it
    row("CLUSTER", -2, 0, cluster, "3.0.0", "Commands about the cluster"),
    row("CLUSTER|SLOTS", 2, stale, cluster, "3.0.0", "Returns which node serves which slots"),
    row("CLUSTER|SHARDS", 2, stale, cluster, "7.0.0", "Returns the shards and their nodes"),
    row("CLUSTER|NODES", 2, stale, cluster, "3.0.0", "Returns the nodes as lines of text"),
    row("CLUSTER|INFO", 2, stale, cluster, "3.0.0", "Returns figures about the cluster"),
    row("CLUSTER|MYID", 2, stale, cluster, "3.0.0", "Returns this node's id"),
    row("CLUSTER|KEYSLOT", 3, stale, cluster, "3.0.0", "Returns the slot of a key"),
    row("CLUSTER|COUNTKEYSINSLOT", 3, stale, cluster, "3.0.0",
        "Returns the number of keys in a slot"),
    row("CLUSTER|GETKEYSINSLOT", 4, stale, cluster, "3.0.0", "Returns keys of a slot"),
    row("CLUSTER|ADDSLOTS", -3, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|ADDSLOTSRANGE", -4, admin | stale, cluster, "7.0.0", by_hand),
    row("CLUSTER|BUMPEPOCH", 2, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|DELSLOTS", -3, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|DELSLOTSRANGE", -4, admin | stale, cluster, "7.0.0", by_hand),
    row("CLUSTER|FAILOVER", -2, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|FLUSHSLOTS", 2, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|FORGET", 3, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|MEET", -4, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|REPLICATE", 3, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|RESET", -2, noscript | admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|SAVECONFIG", 2, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|SET-CONFIG-EPOCH", 3, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|SETSLOT", -4, admin | stale, cluster, "3.0.0", by_hand),
    row("CLUSTER|HELP", 2, up, cluster, "5.0.0", "Lists the subcommands"),
    row("READONLY", 1, up | fast, cluster_mode, "3.0.0",
        "Allows reads from any replica on this connection"),
    row("READWRITE", 1, up | fast, cluster_mode, "3.0.0", "Ends READONLY"),
    row("ASKING", 1, fast, cluster_mode, "3.0.0", "Accepted after a redirection"),
    // The ring itself
    row("GYRE", -2, 0, cluster, "7.0.0", "Commands about the ring"),
    row("GYRE|NODES", 2, up | fast, cluster, "7.0.0", "Returns the nodes of the ring"),
    row("GYRE|REPLICAS", 3, up | fast, cluster, "7.0.0",
        "Returns the replicas of a key, primary first"),
    row("GYRE|LOCAL", -3, 0, cluster, "7.0.0", "Reads from this node's replica alone"),
    row("GYRE|STATUS", 2, up | fast, cluster, "7.0.0", "Returns the state of the ring in numbers"),
    row("GYRE|CONSISTENCY", -2, up | fast, cluster, "7.0.0",
        "Sets or returns the connection's consistency levels"),
    row("GYRE|VERIFY", -2, up, cluster, "7.0.0", "Recomputes the digests of this node's slots"),
    row("GYRE|SYNC", -2, up, cluster, "7.0.0",
        "Compares replicas with peers, or tells how far it is"),
    row("GYRE|EXPLAIN", 3, up, cluster, "7.0.0",
        "Tells what this node's replica knows of a key, and who wrote it"),
    row("GYRE|HELP", 2, up, cluster, "7.0.0", "Lists the subcommands"),
});

}  // namespace

std::span<const CommandSpec> session_commands() {
  return rows;
}

}  // namespace gyre
