// HELP of every container but COMMAND and DEBUG: only what is built is listed.

#include <array>

#include "server/session_parts.h"

namespace gyre {
namespace {

// Lines of "usage|what it does"; a line without usage goes on.
void help(SessionCall& call, std::string_view text) {
  Reply& reply = call.reply;
  const std::size_t mark = reply.deferred();
  std::size_t lines = 3;
  reply.simple(to_upper(call.args[0]) +
               " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t bar = line.rfind('|');
    reply.simple(line.substr(0, bar));
    reply.simple("    " + std::string(line.substr(bar + 1)));
    lines += 2;
  }
  reply.simple("HELP");
  reply.simple("    Print this help.");
  reply.finish_array(mark, lines);
}

void client(SessionCall& call) {
  help(call,
       "GETNAME|Return the name of this connection.\n"
       "CACHING (YES|NO)|Choose whether the keys of the next command are tracked.\n"
       "GETREDIR|Return to which connection invalidations go: 0, this one; -1, none do.\n"
       "ID|Return the number of this connection.\n"
       "INFO|Describe this connection.\n"
       "KILL <ip:port>|Close the connection from this address.\n"
       "KILL <option> <value> [<option> <value> ...]|Close connections. Options: ID <id>, ADDR "
       "<ip:port>, LADDR <ip:port>, TYPE <type>, USER <name>, SKIPME (YES|NO).\n"
       "LIST [TYPE <type> | ID <id> [<id> ...]]|Describe the connections of this node.\n"
       "NO-EVICT (ON|OFF)|Keep this connection when memory is short.\n"
       "PAUSE <milliseconds> [WRITE|ALL]|Hold back commands, or those that write.\n"
       "REPLY (ON|OFF|SKIP)|Choose whether this connection is answered.\n"
       "SETINFO (LIB-NAME|LIB-VER) <value>|Remember the client library.\n"
       "SETNAME <name>|Name this connection.\n"
       "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> ...] [OPTIN] [OPTOUT] "
       "[NOLOOP]|Have changes told to keys that this connection has read.\n"
       "TRACKINGINFO|Tell how this connection is tracked.\n"
       "UNBLOCK <id> [TIMEOUT|ERROR]|End the blocking command of another connection.\n"
       "UNPAUSE|End a pause.");
}

void acl(SessionCall& call) {
  help(call,
       "CAT [<category>]|Return the categories, or the commands of one.\n"
       "DELUSER <username> [<username> ...]|Remove users; their clients are disconnected.\n"
       "DRYRUN <username> <command> [<arg> ...]|Return whether the user could run the command.\n"
       "GENPASS [<bits>]|Return a random password in hex: 256 bits unless told.\n"
       "GETUSER <username>|Return a user's flags, passwords (hashed) and permissions.\n"
       "LIST|Return the users as lines of a configuration file.\n"
       "LOAD|Read the users from the ACL file; what is not there is gone.\n"
       "LOG [<count> | RESET]|Return what was denied lately, or forget it.\n"
       "SAVE|Write the users to the ACL file.\n"
       "SETUSER <username> [<rule> ...]|Make or change a user.\n"
       "USERS|Return the names of the users.\n"
       "WHOAMI|Return the name of this connection's user.");
}

void pubsub(SessionCall& call) {
  help(call,
       "CHANNELS [<pattern>]|Return the channels that somebody listens to.\n"
       "NUMPAT|Return how many patterns are listened to.\n"
       "NUMSUB [<channel> ...]|Return how many clients listen to channels, patterns apart.\n"
       "SHARDCHANNELS [<pattern>]|Return the shard channels that somebody listens to.\n"
       "SHARDNUMSUB [<shardchannel> ...]|Return how many clients listen to shard channels.");
}

void config(SessionCall& call) {
  help(call,
       "GET <pattern> [<pattern> ...]|Return the options that match, and their values.\n"
       "RESETSTAT|Set the statistics of INFO to zero.\n"
       "REWRITE|Write the options back to the configuration file.\n"
       "SET <option> <value> [<option> <value> ...]|Change options.");
}

void module(SessionCall& call) {
  help(call,
       "LIST|List the loaded modules: there are none.\n"
       "LOAD <path> [<arg> ...]|Refused, as LOADEX: there are no modules for this server.\n"
       "UNLOAD <name>|Refused.");
}

void memory(SessionCall& call) {
  help(call,
       "DOCTOR|Tell in words what is unusual about this node's memory.\n"
       "MALLOC-STATS|Return the allocator's own report.\n"
       "PURGE|Give memory back to the system.\n"
       "STATS|Return what this node's memory is used for.\n"
       "USAGE <key> [SAMPLES <count>]|Return the bytes that a key takes.");
}

void slowlog(SessionCall& call) {
  help(call,
       "GET [<count>]|Return the newest entries (10 unless told, -1 for all): number, time, "
       "microseconds, arguments, client address, client name.\n"
       "LEN|Return how many entries there are.\n"
       "RESET|Remove all entries.");
}

void latency(SessionCall& call) {
  help(call,
       "HISTORY <event>|Return the samples of an event.\n"
       "DOCTOR|Return what was slow, in words.\n"
       "HISTOGRAM [<command> ...]|Return how many calls of each command took how many "
       "microseconds, adding up.\n"
       "LATEST|Return the last sample of every event.\n"
       "RESET [<event> ...]|Forget samples.");
}

void function(SessionCall& call) {
  help(call,
       "DELETE <library>|Remove a library and its functions.\n"
       "DUMP|Return all libraries as one value, for RESTORE.\n"
       "FLUSH [ASYNC|SYNC]|Remove all functions.\n"
       "KILL|End the function that runs, unless it has written.\n"
       "LIST [LIBRARYNAME <pattern>] [WITHCODE]|List the libraries and their functions.\n"
       "LOAD [REPLACE] <code>|Make a library known.\n"
       "RESTORE <payload> [FLUSH|APPEND|REPLACE]|Make the libraries of a dump known.\n"
       "STATS|Tell of the function that runs, and count libraries and functions.");
}

void script(SessionCall& call) {
  help(call,
       "EXISTS <sha1> [<sha1> ...]|Return which scripts are known to this node.\n"
       "FLUSH [ASYNC|SYNC]|Forget all scripts.\n"
       "KILL|End the script that runs, unless it has written.\n"
       "LOAD <script>|Make a script known to this node.");
}

void cluster(SessionCall& call) {
  if (!call.connection.cluster_aware) {
    return call.reply.error("This instance has cluster support disabled");
  }
  help(call,
       "COUNTKEYSINSLOT <slot>|Return how many keys of the slot are on this node.\n"
       "GETKEYSINSLOT <slot> <count>|Return keys of the slot that are on this node.\n"
       "INFO|Return figures about the cluster.\n"
       "KEYSLOT <key>|Return the slot of a key.\n"
       "MYID|Return this node's id.\n"
       "NODES|Return the nodes, one per line.\n"
       "SHARDS|Return the nodes and their slots.\n"
       "SLOTS|Return the slots and their nodes.");
}

void gyre(SessionCall& call) {
  help(call,
       "CONSISTENCY [READ <level>] [WRITE <level>]|Set this connection's levels (one, quorum, all, "
       "a number), or return them.\n"
       "EXPLAIN <key>|Return what this node's replica knows of a key: bounds, versions, who wrote "
       "them.\n"
       "LOCAL <command> [<arg> ...]|Read from this node's replica alone.\n"
       "NODES|Return the nodes of the ring.\n"
       "REPLICAS <key>|Return the names of a key's replicas, primary first.\n"
       "STATUS|Return the state of the ring in numbers.\n"
       "SYNC [<peer>] [NOW]|Compare with peers now, or return how far background comparisons are.\n"
       "VERIFY [<slot>]|Recompute the digests of this node's slots and return what is wrong.");
}

constexpr auto rows = std::to_array<SessionRow>({
    {"CLIENT|HELP", client},
    {"ACL|HELP", acl},
    {"PUBSUB|HELP", pubsub},
    {"CONFIG|HELP", config},
    {"MODULE|HELP", module},
    {"MEMORY|HELP", memory},
    {"SLOWLOG|HELP", slowlog},
    {"LATENCY|HELP", latency},
    {"FUNCTION|HELP", function},
    {"SCRIPT|HELP", script},
    {"CLUSTER|HELP", cluster},
    {"GYRE|HELP", gyre},
});

}  // namespace

std::span<const SessionRow> help_handlers() {
  return rows;
}

}  // namespace gyre
