#include "commands/command_command.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/glob.h"
#include "base/numbers.h"
#include "commands/key_use.h"
#include "commands/table.h"

namespace gyre {
namespace {

using Names = std::vector<std::string_view>;

bool is_subcommand(const CommandSpec& spec) {
  return spec.name.find('|') != std::string_view::npos;
}

std::vector<const CommandSpec*> subcommands(const CommandSpec& spec) {
  std::vector<const CommandSpec*> subs;
  if (spec.run) return subs;
  for (const CommandSpec* row : all_commands()) {
    if (row->name.size() > spec.name.size() && row->name[spec.name.size()] == '|' &&
        row->name.starts_with(spec.name)) {
      subs.push_back(row);
    }
  }
  return subs;
}

// ---- keys

bool has_keys(const CommandSpec& spec) {
  return spec.find_keys || spec.keys.first != 0;
}

// Where a command with a number of keys in its arguments has them.
struct CountedKeys {
  bool one_before = false;  // the first argument is a key too: ZUNIONSTORE
  int count_at = 0;         // the argument that says how many
};

// Found by asking the row's finder about a command line that has a 2 everywhere: two keys, one
// after the other, follow the argument that was taken as their number.
std::optional<CountedKeys> counted_keys(const CommandSpec& spec) {
  std::array<std::string_view, 12> line;
  line.fill("2");
  line[0] = spec.name;
  std::vector<std::size_t> at;
  spec.find_keys(line, at);
  const bool one_before = at.size() == 3 && at[0] == 1;
  const std::size_t i = one_before ? 1 : 0;
  if (at.size() != i + 2 || at[i + 1] != at[i] + 1 || at[i] < 2) return std::nullopt;
  return CountedKeys{one_before, static_cast<int>(at[i]) - 1};
}

// The range that old clients read; with counted keys only the one before them can be told.
KeyRange shown_range(const CommandSpec& spec) {
  if (spec.find_keys && spec.keys.first == 0) {
    const auto counted = counted_keys(spec);
    if (counted && counted->one_before) return first_key;
  }
  return spec.keys;
}

// ---- replies

void simple_set(Reply& reply, const Names& names) {
  reply.set(names.size());
  for (const std::string_view name : names) reply.simple(name);
}

Names words(std::string_view text) {
  Names out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (end > 0) out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

void number_field(Reply& reply, std::string_view name, int value) {
  reply.bulk(name);
  reply.integer(value);
}

struct KeySpecReply {
  Reply& reply;

  void begin(std::string_view flags, int index) {
    reply.map(3);
    reply.bulk("flags");
    simple_set(reply, words(flags));
    reply.bulk("begin_search");
    typed("index", 1);
    number_field(reply, "index", index);
    reply.bulk("find_keys");
  }
  void range(std::string_view flags, int index, int last, int step) {
    begin(flags, index);
    typed("range", 3);
    number_field(reply, "lastkey", last);
    number_field(reply, "keystep", step);
    number_field(reply, "limit", 0);
  }
  void counted(std::string_view flags, int index) {
    begin(flags, index);
    typed("keynum", 3);
    number_field(reply, "keynumidx", 0);
    number_field(reply, "firstkey", 1);
    number_field(reply, "keystep", 1);
  }
  // Keys and as many other words behind a word.
  void behind(std::string_view flags, std::string_view word, int from) {
    reply.map(3);
    reply.bulk("flags");
    simple_set(reply, words(flags));
    reply.bulk("begin_search");
    typed("keyword", 2);
    reply.bulk("keyword");
    reply.bulk(word);
    number_field(reply, "startfrom", from);
    reply.bulk("find_keys");
    typed("range", 3);
    number_field(reply, "lastkey", -1);
    number_field(reply, "keystep", 1);
    number_field(reply, "limit", 2);
  }
  void unknown(std::string_view flags) {
    reply.map(3);
    reply.bulk("flags");
    Names names = words(flags);
    names.push_back("incomplete");
    simple_set(reply, names);
    for (const std::string_view part : {"begin_search", "find_keys"}) {
      reply.bulk(part);
      typed("unknown", 0);
    }
  }

 private:
  void typed(std::string_view type, std::size_t fields) {
    reply.map(2);
    reply.bulk("type");
    reply.bulk(type);
    reply.bulk("spec");
    reply.map(fields);
  }
};

void key_specs(Reply& reply, const CommandSpec& spec) {
  if (!has_keys(spec)) return reply.set(0);
  const KeyUse use = key_use(spec);
  KeySpecReply specs{reply};
  if (spec.find_keys) {
    const auto counted = counted_keys(spec);
    const bool first_apart = counted ? counted->one_before : spec.keys.first != 0;
    const std::string_view rest = use.rest.empty() ? use.first : use.rest;
    reply.set(first_apart ? 2 : 1);
    if (spec.name == "XREAD") return specs.behind(rest, "STREAMS", 1);
    if (spec.name == "XREADGROUP") return specs.behind(rest, "STREAMS", 4);
    if (first_apart) specs.range(use.first, 1, 0, 1);
    return counted ? specs.counted(rest, counted->count_at) : specs.unknown(rest);
  }
  const auto [first, last, step] = spec.keys;
  if (use.rest.empty()) {
    reply.set(1);
    return specs.range(use.first, first, last < 0 ? last : last - first, step);
  }
  reply.set(2);
  specs.range(use.first, first, 0, step);
  specs.range(use.rest, first + step, last < 0 ? last : last - first - step, step);
}

constexpr std::string_view varying =
    "TIME LASTSAVE RANDOMKEY SCAN HSCAN SSCAN ZSCAN HRANDFIELD SRANDMEMBER ZRANDMEMBER SPOP TTL "
    "PTTL "
    "INFO OBJECT|ENCODING OBJECT|REFCOUNT OBJECT|IDLETIME OBJECT|FREQ CLIENT|LIST CLIENT|INFO "
    "SLOWLOG|GET SLOWLOG|LEN LATENCY|LATEST LATENCY|HISTORY CLUSTER|SLOTS CLUSTER|SHARDS "
    "CLUSTER|NODES CLUSTER|INFO CLUSTER|GETKEYSINSLOT GYRE|NODES GYRE|STATUS DUMP XADD XTRIM "
    "XAUTOCLAIM XCLAIM XPENDING XINFO|CONSUMERS";
constexpr std::string_view varying_order =
    "KEYS HKEYS HVALS HGETALL SMEMBERS SINTER SUNION SDIFF COMMAND COMMAND|LIST COMMAND|INFO "
    "COMMAND|DOCS FUNCTION|LIST MODULE|LIST";

void tips(Reply& reply, const CommandSpec& spec) {
  const bool order = has_word(varying_order, spec.name);
  if (!order && !has_word(varying, spec.name)) return reply.set(0);
  reply.set(1);
  reply.bulk(order ? "nondeterministic_output_order" : "nondeterministic_output");
}

void info(Reply& reply, const CommandSpec& spec) {
  reply.array(10);
  reply.bulk(command_shown_name(spec));
  reply.integer(spec.arity);
  simple_set(reply, command_flags(spec));
  const KeyRange range = shown_range(spec);
  reply.integer(range.first);
  reply.integer(range.last);
  reply.integer(range.step);
  simple_set(reply, command_categories(spec));
  tips(reply, spec);
  key_specs(reply, spec);
  const auto subs = subcommands(spec);
  if (subs.empty()) return reply.set(0);
  reply.array(subs.size());
  for (const CommandSpec* sub : subs) info(reply, *sub);
}

void docs(Reply& reply, const CommandSpec& spec) {
  const auto subs = subcommands(spec);
  reply.bulk(command_shown_name(spec));
  reply.map(subs.empty() ? 3 : 4);
  reply.bulk("summary");
  reply.bulk(spec.summary);
  reply.bulk("since");
  reply.bulk(spec.since);
  reply.bulk("group");
  reply.bulk(command_group(spec));
  if (subs.empty()) return;
  reply.bulk("subcommands");
  reply.map(subs.size());
  for (const CommandSpec* sub : subs) docs(reply, *sub);
}

std::vector<const CommandSpec*> top_level() {
  std::vector<const CommandSpec*> top;
  for (const CommandSpec* row : all_commands()) {
    if (!is_subcommand(*row)) top.push_back(row);
  }
  return top;
}

void info_all(Reply& reply) {
  const auto top = top_level();
  reply.array(top.size());
  for (const CommandSpec* row : top) info(reply, *row);
}

void info_named(Args names, Reply& reply) {
  if (names.empty()) return info_all(reply);
  reply.array(names.size());
  for (const std::string_view name : names) {
    const CommandSpec* row = find_command(name);
    row ? info(reply, *row) : reply.null();
  }
}

void docs_named(Args names, Reply& reply) {
  std::vector<const CommandSpec*> chosen;
  if (names.empty()) chosen = top_level();
  for (const std::string_view name : names) {
    if (const CommandSpec* row = find_command(name)) chosen.push_back(row);
  }
  reply.map(chosen.size());
  for (const CommandSpec* row : chosen) docs(reply, *row);
}

// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]
void list(Args args, Reply& reply) {
  enum class Filter { none, module, category, pattern } by = Filter::none;
  if (args.size() != 2) {
    if (args.size() != 5 || !equals_ignore_case(args[2], "filterby")) {
      return reply.error(Errc::syntax);
    }
    if (equals_ignore_case(args[3], "module")) {
      by = Filter::module;
    } else if (equals_ignore_case(args[3], "aclcat")) {
      by = Filter::category;
    } else if (equals_ignore_case(args[3], "pattern")) {
      by = Filter::pattern;
    } else {
      return reply.error(Errc::syntax);
    }
  }
  const auto takes = [&](const CommandSpec& spec, const std::string& name) {
    switch (by) {
      case Filter::none:
        return true;
      case Filter::module:
        return false;
      case Filter::pattern:
        return glob_match(args[4], name, true);
      case Filter::category:
        break;
    }
    const Names categories = command_categories(spec);
    return std::any_of(categories.begin(), categories.end(), [&](std::string_view category) {
      return equals_ignore_case(category.substr(1), args[4]);
    });
  };
  std::vector<std::string> names;
  for (const CommandSpec* row : all_commands()) {
    std::string name = command_shown_name(*row);
    if (takes(*row, name)) names.push_back(std::move(name));
  }
  reply.array(names.size());
  for (const std::string& name : names) reply.bulk(name);
}

// COMMAND GETKEYS and GETKEYSANDFLAGS: the keys of the command line that follows.
void get_keys(Args line, Reply& reply, bool with_flags) {
  const CommandSpec* spec = find_command(line);
  if (!spec || (command_is_container(*spec) && line.size() > 1)) {
    return reply.error("Invalid command specified");
  }
  // Shard channels have a slot as keys have, and are none.
  if (!has_keys(*spec) || (spec->flags & flag::pubsub))
    return reply.error("The command has no key arguments");
  if (!arity_ok(*spec, line.size())) {
    return reply.error("Invalid number of arguments specified for command");
  }
  std::vector<std::size_t> at;
  for_each_key(*spec, line, [&](std::size_t i) { at.push_back(i); });
  // EVAL and its kin may well have none.
  if (at.empty() && !has_word("EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO", spec->name)) {
    return reply.error("Invalid arguments specified for command");
  }
  const KeyUse use = key_use(*spec, line);
  reply.array(at.size());
  for (std::size_t i = 0; i < at.size(); ++i) {
    if (with_flags) reply.array(2);
    reply.bulk(line[at[i]]);
    if (with_flags) simple_set(reply, words(use.of(i)));
  }
}

constexpr auto help_lines = std::to_array<std::string_view>({
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Describe all commands.",
    "COUNT",
    "    Return the number of commands.",
    "DOCS [<command-name> ...]",
    "    Return the documentation of these commands, or of all.",
    "GETKEYS <full-command>",
    "    Return the keys in a command line.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys in a command line and how they are used.",
    "INFO [<command-name> ...]",
    "    Describe these commands, or all.",
    "LIST [FILTERBY MODULE <name> | ACLCAT <category> | PATTERN <pattern>]",
    "    Return the names of the commands.",
    "HELP",
    "    Prints this help.",
});

// What every flag that clients know is called, in Redis' order.
constexpr std::pair<std::uint32_t, std::string_view> flag_names[] = {
    {flag::write, "write"},
    {flag::read, "readonly"},
    {flag::denyoom, "denyoom"},
    {flag::admin, "admin"},
    {flag::pubsub, "pubsub"},
    {flag::noscript, "noscript"},
    {flag::blocking, "blocking"},
    {flag::loading, "loading"},
    {flag::stale, "stale"},
    {flag::skip_monitor, "skip_monitor"},
    {flag::skip_slowlog, "skip_slowlog"},
    {flag::fast, "fast"},
    {flag::no_auth, "no_auth"},
    {flag::may_replicate, "may_replicate"},
    {flag::no_multi, "no_multi"},
    {flag::allow_busy, "allow_busy"},
};

constexpr auto category_order = std::to_array<std::string_view>(
    {"@keyspace",   "@read",        "@write",    "@set",         "@sortedset", "@list",
     "@hash",       "@string",      "@bitmap",   "@hyperloglog", "@geo",       "@stream",
     "@pubsub",     "@admin",       "@fast",     "@slow",        "@blocking",  "@dangerous",
     "@connection", "@transaction", "@scripting"});

// The category that a group of types brings along.
constexpr std::pair<std::string_view, std::string_view> group_categories[] = {
    {"generic", "@keyspace"}, {"set", "@set"},   {"sorted-set", "@sortedset"},
    {"list", "@list"},        {"hash", "@hash"}, {"string", "@string"},
    {"bitmap", "@bitmap"},    {"geo", "@geo"},   {"hyperloglog", "@hyperloglog"},
    {"stream", "@stream"},
};

}  // namespace

bool command_is_container(const CommandSpec& spec) {
  return !spec.run && spec.arity == -2 && !is_subcommand(spec) && !subcommands(spec).empty();
}

std::span<const std::string_view> command_category_names() {
  return category_order;
}

std::string command_shown_name(const CommandSpec& spec) {
  return to_lower(spec.name);
}

std::string_view command_group(const CommandSpec& spec) {
  if (!spec.group.empty()) return spec.group;
  const std::pair<std::span<const CommandSpec>, std::string_view> families[] = {
      {string_commands(), "string"}, {key_commands(), "generic"},     {hash_commands(), "hash"},
      {set_commands(), "set"},       {zset_commands(), "sorted-set"}, {list_commands(), "list"},
      {bitmap_commands(), "bitmap"}, {bitfield_commands(), "bitmap"}, {stream_commands(), "stream"},
  };
  for (const auto& [rows, group] : families) {
    for (const CommandSpec& row : rows) {
      if (row.name == spec.name) return group;
    }
  }
  return "server";
}

std::vector<std::string_view> command_flags(const CommandSpec& spec) {
  Names names;
  for (const auto& [bit, name] : flag_names) {
    // What a script may do is up to the script.
    if ((bit & (flag::write | flag::may_replicate)) && (spec.flags & flag::script_call)) continue;
    if (spec.flags & bit) names.push_back(name);
  }
  if (spec.flags & flag::script_call) names.push_back("no_mandatory_keys");
  if (spec.find_keys || (spec.flags & flag::movablekeys)) names.push_back("movablekeys");
  return names;
}

std::vector<std::string_view> command_categories(const CommandSpec& spec) {
  // The name before subcommands does nothing itself.
  if (command_is_container(spec)) return {"@slow"};
  Names found = words(spec.categories);
  const auto add = [&](std::string_view category) { found.push_back(category); };
  // What names a type or the connection (WAIT) is of that.
  const bool own_type = std::any_of(found.begin(), found.end(), [](std::string_view category) {
    return category == "@connection" ||
           std::any_of(std::begin(group_categories), std::end(group_categories),
                       [&](const auto& row) { return row.second == category; });
  });
  for (const auto& [group, category] : group_categories) {
    if (!own_type && command_group(spec) == group) add(category);
  }
  const bool script = has_word(spec.categories, "@scripting");
  if ((spec.flags & flag::write) && !(spec.flags & flag::script_call)) add("@write");
  if ((spec.flags & flag::read) && !script) add("@read");
  if (spec.flags & flag::admin) add("@admin"), add("@dangerous");
  if (spec.flags & flag::pubsub) add("@pubsub");
  if (spec.flags & flag::blocking) add("@blocking");
  add((spec.flags & flag::fast) ? "@fast" : "@slow");
  Names ordered;
  for (const std::string_view category : category_order) {
    if (std::find(found.begin(), found.end(), category) != found.end()) ordered.push_back(category);
  }
  return ordered;
}

void command_reply(Args args, Reply& reply) {
  if (args.size() < 2) return info_all(reply);
  const auto is = [&](std::string_view name) { return equals_ignore_case(args[1], name); };
  if (is("count")) return reply.integer(static_cast<std::int64_t>(top_level().size()));
  if (is("info")) return info_named(args.subspan(2), reply);
  if (is("docs")) return docs_named(args.subspan(2), reply);
  if (is("list")) return list(args, reply);
  if (is("getkeys")) return get_keys(args.subspan(2), reply, false);
  if (is("getkeysandflags")) return get_keys(args.subspan(2), reply, true);
  if (is("help")) {
    reply.array(help_lines.size());
    for (const std::string_view line : help_lines) reply.simple(line);
    return;
  }
  reply.error("unknown subcommand '" + std::string(args[1].substr(0, 128)) +
              "'. Try COMMAND HELP.");
}

}  // namespace gyre
