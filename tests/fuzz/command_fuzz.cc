// Commands on keys, drawn from the table with arguments that the input chooses: options of all
// families, numbers at the ends of their ranges, short texts, replies of earlier commands. Each
// must give one well-formed reply; kept digests stay right, and whoever is told of the effects
// alone holds the same afterwards.
//
// Each slot is a key space of its own, as under the barrier of a node with many threads.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "commands/table.h"
#include "rdb/value.h"
#include "resp/reply_reader.h"
#include "ring/slot.h"
#include "shard/command.h"

namespace {

using namespace gyre;  // NOLINT(google-build-using-namespace)

constexpr std::size_t commands_max = 48, args_max = 14, input_bytes_max = 2048;
constexpr std::size_t value_bytes_max = 1 << 16;

constexpr auto keys = std::to_array<std::string_view>({"a", "b", "c", "{a}d", ""});

constexpr auto numbers =
    std::to_array<std::string_view>({"0",
                                     "1",
                                     "2",
                                     "3",
                                     "-1",
                                     "-2",
                                     "10",
                                     "100",
                                     "4096",
                                     "65535",
                                     "65536",
                                     "2147483647",
                                     "2147483648",
                                     "-2147483648",
                                     "-2147483649",
                                     "4294967295",
                                     "4294967296",
                                     "4611686018427387904",
                                     "-4611686018427387905",
                                     "9223372036854775807",
                                     "-9223372036854775807",
                                     "-9223372036854775808",
                                     "9223372036854775808",
                                     "18446744073709551615",
                                     "18446744073709551616",
                                     "#1",
                                     "#9223372036854775807",
                                     "1.5",
                                     "-0",
                                     "inf",
                                     "-inf",
                                     "nan",
                                     "1e308",
                                     "4.9e-324",
                                     "1e5000",
                                     "0x1p3",
                                     "(1",
                                     "(inf",
                                     "(",
                                     "0-0",
                                     "1-1",
                                     "5-18446744073709551615",
                                     "18446744073709551615-18446744073709551615",
                                     "1-*",
                                     "(1-1"});

constexpr auto words = std::to_array<std::string_view>({"NX",
                                                        "XX",
                                                        "GT",
                                                        "LT",
                                                        "CH",
                                                        "INCR",
                                                        "GET",
                                                        "KEEPTTL",
                                                        "EX",
                                                        "PX",
                                                        "EXAT",
                                                        "PXAT",
                                                        "PERSIST",
                                                        "WITHSCORES",
                                                        "WITHVALUES",
                                                        "LIMIT",
                                                        "COUNT",
                                                        "MATCH",
                                                        "BYSCORE",
                                                        "BYLEX",
                                                        "REV",
                                                        "ASC",
                                                        "DESC",
                                                        "ALPHA",
                                                        "STORE",
                                                        "STOREDIST",
                                                        "REPLACE",
                                                        "ABSTTL",
                                                        "IDLETIME",
                                                        "FREQ",
                                                        "LEFT",
                                                        "RIGHT",
                                                        "BEFORE",
                                                        "AFTER",
                                                        "WEIGHTS",
                                                        "AGGREGATE",
                                                        "SUM",
                                                        "MIN",
                                                        "MAX",
                                                        "MAXLEN",
                                                        "MINID",
                                                        "NOMKSTREAM",
                                                        "MKSTREAM",
                                                        "ENTRIESREAD",
                                                        "ENTRIESADDED",
                                                        "MAXDELETEDID",
                                                        "STREAMS",
                                                        "GROUP",
                                                        "NOACK",
                                                        "BLOCK",
                                                        "JUSTID",
                                                        "FORCE",
                                                        "TIME",
                                                        "IDLE",
                                                        "RETRYCOUNT",
                                                        "LASTID",
                                                        "FULL",
                                                        "BY",
                                                        "RANK",
                                                        "FROMMEMBER",
                                                        "FROMLONLAT",
                                                        "BYRADIUS",
                                                        "BYBOX",
                                                        "WITHCOORD",
                                                        "WITHDIST",
                                                        "WITHHASH",
                                                        "ANY",
                                                        "m",
                                                        "km",
                                                        "SET",
                                                        "INCRBY",
                                                        "OVERFLOW",
                                                        "WRAP",
                                                        "SAT",
                                                        "FAIL",
                                                        "u8",
                                                        "i64",
                                                        "u63",
                                                        "i5",
                                                        "u1",
                                                        "AND",
                                                        "OR",
                                                        "XOR",
                                                        "NOT",
                                                        "BIT",
                                                        "BYTE",
                                                        "LEN",
                                                        "IDX",
                                                        "MINMATCHLEN",
                                                        "WITHMATCHLEN",
                                                        "DB",
                                                        "*",
                                                        "-",
                                                        "+",
                                                        "$",
                                                        ">",
                                                        "~",
                                                        "=",
                                                        "[a",
                                                        "(b",
                                                        "[",
                                                        "#",
                                                        "a*",
                                                        "*->f",
                                                        "g1",
                                                        "g2",
                                                        "alice",
                                                        "bob",
                                                        "TODENSE",
                                                        "DECODE"});

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  std::string bytes(std::size_t n) {
    n = std::min(n, left_);
    std::string out(reinterpret_cast<const char*>(data_), n);
    data_ += n;
    left_ -= n;
    return out;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

// Key spaces of one slot each, made when they are asked for.
class Spaces : public KeySpaces {
 public:
  explicit Spaces(bool replicas) : replicas_(replicas) {}
  KeySpace& of(Slot slot) override {
    std::unique_ptr<KeySpace>& space = spaces_[slot.value];
    if (!space) {
      space = std::make_unique<KeySpace>(KeySpaceOptions{
          .first = slot, .slots = 1, .keep_tombstones = replicas_, .clock_node = 8});
    }
    return *space;
  }
  bool whole() const override { return !replicas_; }
  bool replicas() const { return replicas_; }
  const std::map<std::uint16_t, std::unique_ptr<KeySpace>>& all() const { return spaces_; }

 private:
  const bool replicas_;
  std::map<std::uint16_t, std::unique_ptr<KeySpace>> spaces_;
};

// Another replica: it gets the effects as they travel.
class Replica : public EffectSink {
 public:
  explicit Replica(Spaces& spaces) : spaces_(spaces) {}
  void made(Slot slot, std::uint64_t hash, const Effect& effect, const ApplyResult&) override {
    if (!spaces_.replicas()) return;
    std::string bytes;
    encode_effect(bytes, effect);
    Reader in(bytes);
    Effect arrived;
    GYRE_ASSERT(decode_effect(in, arrived) && in.finished() && valid_effect(arrived));
    spaces_.of(slot).merge(slot, hash, arrived);
  }

 private:
  Spaces& spaces_;
};

const std::vector<const CommandSpec*>& table() {
  static const auto all = [] {
    std::vector<const CommandSpec*> out;
    for (const CommandSpec* spec : all_commands()) {
      if (spec->run && !(spec->flags & flag::internal)) out.push_back(spec);
    }
    return out;
  }();
  return all;
}

class CommandNode {
 public:
  explicit CommandNode(bool replicas) : here_(replicas), there_(replicas), replica_(there_) {
    options_.proto_max_bulk_len = value_bytes_max;
    options_.hll_sparse_max_bytes = 100;
    options_.stream_node_max_entries = 3;
  }

  void run_one(Input& in) {
    const std::size_t at = in.byte() | static_cast<std::size_t>(in.byte()) << 8;
    const CommandSpec& spec = *table()[at % table().size()];
    const std::uint8_t how = in.byte();
    std::vector<std::string> texts;
    const std::size_t bar = spec.name.find('|');
    texts.emplace_back(spec.name.substr(0, bar));
    if (bar != std::string_view::npos) texts.emplace_back(spec.name.substr(bar + 1));
    // As many as the row wants, and some more.
    const auto least = static_cast<std::size_t>(spec.arity < 0 ? -spec.arity : spec.arity);
    const std::size_t most = spec.arity < 0 ? least + how % 8 : least;
    while (texts.size() < std::min(most, args_max)) texts.push_back(argument(in, texts.size()));
    const std::vector<std::string_view> args(texts.begin(), texts.end());
    if (!arity_ok(spec, args.size())) return;
    run(spec, Args(args), how);
  }

  void check() const {
    for (const auto& [slot, space] : here_.all()) {
      if (!here_.replicas()) continue;
      const Slot s{slot};
      GYRE_ASSERT(space->verify_digest(s));
      KeySpace& other = there_.of(s);
      GYRE_ASSERT(other.verify_digest(s) && other.slot_digest(s) == space->slot_digest(s));
    }
  }

 private:
  std::string argument(Input& in, std::size_t place) {
    const std::uint8_t c = in.byte();
    if (place == 1 && c < 0xc0) return std::string(keys[c % keys.size()]);
    if (c < 0x60) return std::string(words[in.byte() % words.size()]);
    if (c < 0xa0) return std::string(numbers[c % numbers.size()]);
    if (c < 0xd0) return std::string(keys[c % keys.size()]);
    if (c < 0xe0) return "f" + std::to_string(in.byte());
    if (c < 0xf8) return in.bytes(c & 7);
    if (c < 0xfc) return last_bulk_;
    // The last reply as a payload of RESTORE, with a byte changed and its checksum right again.
    constexpr std::size_t foot = 10;
    std::string value = last_bulk_.substr(0, last_bulk_.size() - std::min(foot, last_bulk_.size()));
    if (value.empty()) return value;
    value[in.byte() % value.size()] = static_cast<char>(in.byte());
    return rdb::sealed_payload(std::move(value));
  }

  void run(const CommandSpec& spec, Args args, std::uint8_t how) {
    std::string out;
    Reply reply(out, how & 0x80 ? 3 : 2);
    Waiting waiting;
    now_ += how & 0x40 ? 1000 : 1;
    CommandContext ctx(args, reply, {0}, now_, here_, &replica_, random_, options_);
    ctx.based = (spec.flags & flag::based) != 0;
    if (how & 0x20) ctx.waiting = &waiting;
    spec.run(ctx);
    if (waiting.asked) {
      GYRE_ASSERT(out.empty());
      return;
    }
    ReplyReader reader;
    ReplyValue value;
    std::size_t used = 0;
    GYRE_ASSERT(reader.next(out, used, value) == ReplyRead::reply && used == out.size());
    if (value.type == ReplyType::bulk) last_bulk_ = std::move(value.text);
  }

  Spaces here_;
  mutable Spaces there_;
  Replica replica_;
  UnixMs now_ = 1'700'000'000'000;
  Random random_{42};
  CommandOptions options_;
  std::string last_bulk_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > input_bytes_max) return 0;
  Input in(data, size);
  CommandNode node((in.byte() & 1) != 0);
  for (std::size_t i = 0; i < commands_max && !in.empty(); ++i) node.run_one(in);
  node.check();
  return 0;
}
