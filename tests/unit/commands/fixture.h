// A node without sockets: runs command lines against a key space and gives back RESP, or a readable
// form of it. What every family's tests are written with: CHECK(node("SET a 1") == "+OK").
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "commands/table.h"
#include "shard/command.h"

namespace gyre::test {

class Node1 : public KeySpaces {
 public:
  // replicas: behave as on a ring (tombstones and counter sums are kept).
  explicit Node1(bool replicas = false, std::uint16_t clock_node = 8)
      : Node1(KeySpaceOptions{.keep_tombstones = replicas, .clock_node = clock_node}) {}
  explicit Node1(const KeySpaceOptions& of_space) : space(of_space) {}

  KeySpace& of(Slot) override { return space; }
  bool whole() const override { return !space.options().keep_tombstones; }

  // Runs a command line split at spaces ("" and "\x.." are not understood; use run() for those).
  std::string operator()(const std::string& line, int protocol = 2) {
    std::istringstream in(line);
    std::vector<std::string> words;
    for (std::string w; in >> w;) words.push_back(w);
    return run(words, protocol);
  }
  // CR LF between the parts become spaces: "*2 $1 a $1 b", "+OK", ":3", "$-1".
  std::string run(const std::vector<std::string>& words, int protocol = 2) {
    std::string out = raw(words, protocol);
    std::string readable;
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (out[i] == '\r') continue;
      readable.push_back(out[i] == '\n' ? ' ' : out[i]);
    }
    if (!readable.empty()) readable.pop_back();
    return readable;
  }
  std::string raw(const std::vector<std::string>& words, int protocol = 2) {
    std::vector<std::string_view> args(words.begin(), words.end());
    const CommandSpec* spec = find_command(Args(args));
    REQUIRE(bool(spec));
    REQUIRE(bool(spec->run));
    std::string out;
    Reply reply(out, protocol);
    if (!arity_ok(*spec, args.size())) {
      reply.error("wrong number of arguments");
      return out;
    }
    CommandContext ctx(args, reply, db, now, *this, sink, random, options);
    if (publisher) ctx.publish_to(*publisher, *spec);
    ctx.waiting = waiting;
    ctx.scripts = scripts;
    ctx.rights = rights;
    spec->run(ctx);
    wrote = ctx.wrote;
    return out;
  }

  // What DUMP answers of a key that is there.
  std::string payload_of(const std::string& key) {
    const std::string reply = raw({"DUMP", key});
    const std::size_t from = reply.find("\r\n") + 2;
    return reply.substr(from, reply.size() - from - 2);
  }

  KeySpace space;
  DbIndex db{0};
  UnixMs now = 1'700'000'000'000;
  EffectSink* sink = nullptr;
  Publisher* publisher = nullptr;
  Waiting* waiting = nullptr;  // set: the command may wait
  ScriptRunner* scripts = nullptr;
  const ScriptRights* rights = nullptr;
  Random random{42};
  CommandOptions options;
  bool wrote = false;
};

}  // namespace gyre::test
