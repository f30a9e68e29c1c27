#include "config/config.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <doctest/doctest.h>

#include "config/line.h"
#include "config/sample.h"

namespace gyre {
namespace {

using Pairs = std::vector<std::pair<std::string_view, std::string_view>>;

// What a SET answers: "OK" or the error's text.
std::string set(Config& config, const Pairs& pairs, bool local = false) {
  const auto done = config.set(pairs, local);
  return done ? "OK" : std::string(done.error().text());
}
std::string set(Config& config, std::string_view name, std::string_view value) {
  return set(config, Pairs{{name, value}});
}
std::string get(const Config& config, std::string_view name) {
  const auto pairs = config.get(std::span(&name, 1));
  return pairs.size() == 1 ? pairs[0].second : "(" + std::to_string(pairs.size()) + " values)";
}
std::string load(Config& config, std::string_view text) {
  const auto done = config.load_text(text, "test.conf");
  return done ? "OK" : done.error().detail;
}
std::string arguments(Config& config, std::vector<std::string_view> words) {
  const auto done = config.load_arguments(words);
  return done ? "OK" : done.error().detail;
}
std::string environment(Config& config, std::vector<std::string_view> variables) {
  const auto done = config.load_environment(variables);
  return done ? "OK" : done.error().detail;
}
std::string failed(std::string_view name, std::string_view why) {
  return "CONFIG SET failed (possibly related to argument '" + std::string(name) + "') - " +
         std::string(why);
}

// A folder that goes away with the test.
struct Folder {
  Folder() {
    char name[] = "/tmp/gyre-config-XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(path + "/" + name) << text;
    return path + "/" + name;
  }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path + "/" + name).rdbuf();
    return text.str();
  }
  std::string path;
};

TEST_CASE("config: defaults are as the table says, and pass their own rules") {
  const Config config;
  CHECK(config.port == 6379);
  CHECK(config.persistence);
  CHECK_FALSE(config.daemonize);
  CHECK(config.appendfsync == choice::AppendFsync::everysec);
  CHECK(config.dir.get() == "./");
  CHECK(config.cluster_node.lines().empty());
  CHECK(config.proto_max_bulk_len == 512 * 1024 * 1024);
  CHECK(config.buffer_limits()[2] == BufferLimit{32 << 20, 8 << 20, 60});
  for (const OptionSpec& spec : option_table()) {
    CAPTURE(spec.name);
    const std::string preset = value_text(spec, default_value(spec));
    CHECK(config.text(spec.option) == preset);
    const auto parsed = parse_value(spec, preset, preset);
    REQUIRE(parsed);
    CHECK(value_text(spec, *parsed) == preset);
    CHECK_FALSE(spec.help.empty());
    CHECK((spec.help.back() == '.') != spec.has(option_flag::compat));
    CHECK(find_option(spec.name) == spec.option);
  }
}

TEST_CASE("config: names are unique") {
  std::vector<std::string_view> names;
  for (const OptionSpec& spec : option_table()) names.push_back(spec.name);
  for (const OptionAlias& alias : option_aliases()) names.push_back(alias.name);
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

TEST_CASE("config: numbers and memory keep their bounds") {
  Config config;
  for (const OptionSpec& spec : option_table()) {
    if (spec.kind != OptionKind::integer && spec.kind != OptionKind::memory) continue;
    CAPTURE(spec.name);
    const std::string bounds = "argument must be between " + std::to_string(spec.min) + " and " +
                               std::to_string(spec.max) + " inclusive";
    const auto why = [&](const std::string& text) {
      const auto parsed = parse_value(spec, "", text);
      return parsed ? std::string("OK") : parsed.error().detail;
    };
    const bool closed = spec.option == Option::tls_port;  // refuses all but 0
    CHECK(why(std::to_string(spec.min)) == "OK");
    if (!closed) CHECK(why(std::to_string(spec.max)) == "OK");
    if (spec.max != INT64_MAX) CHECK(why(std::to_string(spec.max + 1)) == bounds);
    if (spec.min != INT64_MIN && (spec.kind == OptionKind::integer || spec.min > 0)) {
      CHECK(why(std::to_string(spec.min - 1)) == bounds);
    }
    CHECK(why("x") != "OK");
    CHECK(why("") != "OK");
    CHECK(why("1 ") != "OK");
  }
}

TEST_CASE("config: memory values") {
  CHECK(parse_memory("0") == 0);
  CHECK(parse_memory("10") == 10);
  CHECK(parse_memory("10b") == 10);
  CHECK(parse_memory("1k") == 1000);
  CHECK(parse_memory("1Kb") == 1024);
  CHECK(parse_memory("2m") == 2000000);
  CHECK(parse_memory("2MB") == 2 << 20);
  CHECK(parse_memory("1g") == 1000000000);
  CHECK(parse_memory("3gb") == std::int64_t{3} << 30);
  for (const char* const bad :
       {"", "b", "-1", "1xb", "1 mb", "9223372036854775808", "9999999999gb", "10%"}) {
    CHECK_FALSE(parse_memory(bad));
  }
  CHECK(memory_text(512 << 20) == "512mb");
  CHECK(memory_text(1000) == "1000");
  CHECK(memory_text(0) == "0");
}

TEST_CASE("config: CONFIG SET answers in Redis' words") {
  Config config;
  CHECK(set(config, "nosuch", "1") ==
        "Unknown option or number of arguments for CONFIG SET - 'nosuch'");
  CHECK(set(config, "maxclients", "0") ==
        failed("maxclients", "argument must be between 1 and 4294967295 inclusive"));
  CHECK(set(config, "MaxClients", "abc") ==
        failed("MaxClients", "argument couldn't be parsed into an integer"));
  CHECK(set(config, "threads", config.text(Option::threads)) == "OK");
  CHECK(set(config, "threads", "63") == failed("threads", "can't set immutable config"));
  CHECK(set(config, "databases", "16") == failed("databases", "can't set immutable config"));
  CHECK(set(config, "protected-mode", "maybe") ==
        failed("protected-mode", "argument must be 'yes' or 'no'"));
  CHECK(set(config, "loglevel", "loud") ==
        failed("loglevel",
               "argument(s) must be one of the following: debug, verbose, notice, warning"));
  CHECK(set(config, "maxmemory", "1xb") == failed("maxmemory", "argument must be a memory value"));
  CHECK(set(config, "dir", "./") == failed("dir", "can't set protected config"));
  CHECK(set(config, "hz", "600") == "OK");
  CHECK(get(config, "hz") == "500");
  CHECK(set(config, "notify-keyspace-events", "KEA") == "OK");
  CHECK(get(config, "notify-keyspace-events") == "AKE");
  CHECK(set(config, "notify-keyspace-events", "Q") ==
        failed("notify-keyspace-events", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."));
  CHECK(set(config, "save", "3600 1 300 100") == "OK");
  CHECK(get(config, "save") == "3600 1 300 100");
  CHECK(set(config, "save", "x") == failed("save", "Invalid save parameters"));
  CHECK(set(config, "save", "") == "OK");
  CHECK(get(config, "save").empty());
  CHECK(set(config, "shutdown-on-sigint", "now save") == "OK");
  CHECK(get(config, "shutdown-on-sigint") == "save now");
  CHECK(set(config, "maxmemory-clients", "5%") == "OK");
  CHECK(set(config, "maxmemory-clients", "101%") ==
        failed("maxmemory-clients", "percentage argument must be less or equal to 100"));
}

TEST_CASE("config: client-output-buffer-limit by Redis' grammar") {
  Config config;
  const std::string name = "client-output-buffer-limit";
  CHECK(set(config, name, "normal 1mb 2 3") == "OK");
  CHECK(get(config, name) ==
        "normal 1048576 2 3 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
  CHECK(set(config, name, "normal 0 0 0 replica 1 2 3") == "OK");
  CHECK(get(config, name) == "normal 0 0 0 slave 1 2 3 pubsub 33554432 8388608 60");
  CHECK(config.buffer_limits()[1] == BufferLimit{1, 2, 3});
  CHECK(set(config, name, "normal 1 2") ==
        failed(name, "Wrong number of arguments in buffer limit configuration."));
  CHECK(set(config, name, "") == "OK");  // names no class, changes none
  CHECK(set(config, name, "foo 1 2 3") ==
        failed(name, "Invalid client class specified in buffer limit configuration."));
  CHECK(set(config, name, "normal 1 2 x") ==
        failed(name, "Error in hard, soft or soft_seconds setting in buffer limit configuration."));
  CHECK(
      load(config,
           "client-output-buffer-limit normal 1 1 1\nclient-output-buffer-limit pubsub 2 2 2\n") ==
      "OK");
  CHECK(get(config, name) == "normal 1 1 1 slave 1 2 3 pubsub 2 2 2");
}

TEST_CASE("config: CONFIG SET is all or nothing") {
  Config config;
  CHECK(set(config, Pairs{{"maxclients", "20"}, {"loglevel", "loud"}}) != "OK");
  CHECK(config.maxclients == 10000);
  CHECK(set(config, Pairs{{"maxclients", "20"}, {"maxclients", "21"}}) ==
        failed("maxclients", "duplicate parameter"));
  CHECK(set(config, Pairs{{"peer-timeout-min", "400"}}) ==
        failed("peer-timeout-min", "peer-timeout-min must not be above peer-timeout-max"));
  CHECK(set(config, Pairs{{"peer-timeout-min", "400"}, {"peer-timeout-max", "500"}}) == "OK");
  CHECK(config.peer_timeout_min == 400);
  CHECK(set(config, "write-consistency", "4") ==
        failed("write-consistency", "write-consistency must not be above replication-factor"));
  CHECK(set(config, "write-consistency", "ALL") == "OK");
  CHECK(config.write_consistency.get() == "all");
}

TEST_CASE("config: hooks see changes and may refuse them") {
  Config config;
  int changes = 0;
  config.on_validate(Option::requirepass, [](std::string_view value) -> Result<void> {
    if (value == "short") return Error(Errc::config, "too short");
    return {};
  });
  config.on_change(Option::maxclients,
                   [&] { changes += config.given(Option::maxclients) ? 1 : 0; });
  CHECK(set(config, Pairs{{"maxclients", "20"}, {"requirepass", "short"}}) ==
        failed("requirepass", "too short"));
  CHECK(config.maxclients == 10000);
  CHECK(changes == 0);
  CHECK(set(config, Pairs{{"maxclients", "20"}, {"requirepass", "long enough"}}) == "OK");
  CHECK(changes == 1);
  CHECK(config.requirepass.get() == "long enough");
}

TEST_CASE("config: what a running node cannot change takes its own value only") {
  Config config;
  CHECK(set(config, "appendonly", "yes") == "OK");
  CHECK(set(config, "appendonly", "no") ==
        failed("appendonly",
               "it can't change while the node runs; change the config file and restart"));
  CHECK(set(config, "port", "6379") == "OK");
  CHECK(set(config, "maxmemory-policy", "noeviction") == "OK");
  CHECK(set(config, "maxmemory-policy", "allkeys-lru") == "OK");
  CHECK(set(config, "maxmemory-policy", "noeviction") == "OK");
  CHECK(load(config, "enable-protected-configs local\n") == "OK");
  CHECK(set(config, Pairs{{"dbfilename", "x.rdb"}}, false) ==
        failed("dbfilename", "can't set protected config"));
  CHECK(set(config, Pairs{{"dbfilename", "x.rdb"}}, true) == "OK");
  CHECK(set(config, Pairs{{"dbfilename", "a/b"}}, true) ==
        failed("dbfilename", "dbfilename can't be a path, just a filename"));
}

TEST_CASE("config: aliases are the same option") {
  Config config;
  CHECK(set(config, "hash-max-ziplist-entries", "7") == "OK");
  CHECK(config.hash_max_listpack_entries == 7);
  CHECK(get(config, "hash-max-listpack-entries") == "7");
  CHECK(get(config, "appendonly") == "yes");
  CHECK(load(config, "appendonly no\n") == "OK");
  CHECK_FALSE(config.persistence);
}

TEST_CASE("config: CONFIG GET by names and patterns") {
  const Config config;
  CHECK(get(config, "maxmemory-policy") == "noeviction");
  CHECK(get(config, "nosuch") == "(0 values)");
  const std::string_view several[] = {"port", "po*", "PORT", "*-policy", "proto-max-bulk-le[n]"};
  const auto pairs = config.get(several);
  CHECK(pairs.size() == 3);
  CHECK(pairs[2] == Config::Pair{"proto-max-bulk-len", "536870912"});
  const std::string_view upper = "PORT";
  CHECK(config.get(std::span(&upper, 1))[0].first == "PORT");
  const std::string_view all = "*";
  CHECK(config.get(std::span(&all, 1)).size() == option_table().size() + option_aliases().size());
}

TEST_CASE("config: file, environment, command line override in this order") {
  const Folder folder;
  const std::string path =
      folder.file("gyre.conf", "port 1\nmaxclients 1\ntimeout 1\nsave 900 1\nsave 300 10\n");
  const char* const argv[] = {"gyre-server", path.c_str(), "--port",   "3",
                              "--bind",      "::1",        "10.0.0.1", "--save"};
  const char* const variables[] = {"HOME=/", "GYRE_PORT=2", "GYRE_MAXCLIENTS=2", nullptr};
  Config config;
  const auto loaded = config.load(8, argv, variables);
  REQUIRE(loaded);
  CHECK(config.port == 3);
  CHECK(config.maxclients == 2);
  CHECK(config.timeout == 1);
  CHECK(config.bind.get() == "::1 10.0.0.1");
  CHECK(config.save.get().empty());
  CHECK(config.file() == path);
  CHECK(config.given(Option::timeout));
  CHECK_FALSE(config.given(Option::hz));
}

TEST_CASE("config: lists of lines") {
  Config config;
  CHECK(load(config, "cluster-node a 10.0.0.1:1 rack=x\ncluster-node 'b c'   10.0.0.2\n") == "OK");
  CHECK(config.cluster_node.lines() ==
        std::vector<std::string>{"a 10.0.0.1:1 rack=x", "\"b c\" 10.0.0.2"});
  CHECK(environment(config, {"GYRE_CLUSTER_NODE=d 1; e 2;"}) == "OK");
  CHECK(config.cluster_node.lines() == std::vector<std::string>{"d 1", "e 2"});
  CHECK(arguments(config, {"--cluster-node", "f", "1", "--cluster-node", "g 2"}) == "OK");
  CHECK(config.cluster_node.lines() == std::vector<std::string>{"f 1", "g 2"});
  CHECK(load(config, "save 900 1\nsave 300 10\n") == "OK");
  CHECK(config.save.get() == "900 1 300 10");
}

TEST_CASE("config: errors at start say where, what and what would be right") {
  Config config;
  CHECK(load(config, "# fine\n\nmax-clok-skew 5\n") ==
        "test.conf, line 3: 'max-clok-skew 5': unknown option 'max-clok-skew'; did you mean "
        "'max-clock-skew'?");
  CHECK(load(config, "max-clock-skew 5") ==
        "test.conf, line 1: 'max-clock-skew 5': argument must be between 10 and 60000 inclusive; "
        "allowed: 10 to 60000 (ms)");
  CHECK(load(config, "\tloglevel loud\r\n") ==
        "test.conf, line 1: 'loglevel loud': argument(s) must be one of the following: debug, "
        "verbose, "
        "notice, warning");
  CHECK(load(config, "port 1 2") ==
        "test.conf, line 1: 'port 1 2': one value is needed; quote it if it has blanks");
  CHECK(load(config, "port") == "test.conf, line 1: 'port': the value is missing");
  CHECK(load(config, "dir \"x") ==
        "test.conf, line 1: 'dir \"x': a quote is not closed, or text follows it without a blank");
  CHECK(load(config, "requirepass hush hush") ==
        "test.conf, line 1: 'requirepass ***': one value is needed; quote it if it has blanks");
  CHECK(load(config, "requirepass \"hush") ==
        "test.conf, line 1: 'requirepass ***': a quote is not closed, or text follows it without a "
        "blank");
  CHECK(load(config, "include other.conf") ==
        "test.conf, line 1: 'include other.conf': include works in files only");
  CHECK(load(config, "tls-port 6380").find("refused") != std::string::npos);
  CHECK(arguments(config, {"--prot", "1"}) ==
        "command line: '--prot 1': unknown option 'prot'; did you mean 'port'?");
  CHECK(arguments(config, {"6379"}) == "command line: '6379': an option begins with --");
  CHECK(arguments(config, {"--port", "--hz", "1"}) ==
        "command line: '--port': the value is missing");
  CHECK(environment(config, {"GYRE_PROT=1"}) ==
        "environment: GYRE_PROT: there is no option 'prot'; did you mean 'port'?");
  CHECK(environment(config, {"GYRE_HZ=x"}) ==
        "environment: GYRE_HZ: 'x': argument couldn't be parsed into an integer; "
        "allowed: 0 to 2147483647 (per second)");
  CHECK(environment(config, {"GYRE_PORT=tcp://10.0.0.1:6379", "GYRE_SERVICE_HOST=10.0.0.1"}) ==
        "OK");
  CHECK(config.port == 6379);
}

TEST_CASE("config: includes start from their file's folder and end at a depth") {
  const Folder folder;
  std::filesystem::create_directory(folder.path + "/d");
  const std::string main =
      folder.file("main.conf", "port 1\ninclude d/*.conf\ninclude none/*.conf\n");
  const auto a = folder.file("d/a.conf", "port 2\ninclude b.txt\n");
  const auto b = folder.file("d/b.txt", "hz 20\n");
  Config config;
  REQUIRE(config.load_file(main));
  CHECK(config.port == 2);
  CHECK(config.hz == 20);

  const std::string loop = folder.file("loop.conf", "include loop.conf\n");
  const auto refused = config.load_file(loop);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().detail.find("nested too deeply") != std::string::npos);
  const auto missing = config.load_file(folder.path + "/nosuch.conf");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().detail ==
        "cannot open config file '" + folder.path + "/nosuch.conf': No such file or directory");
}

TEST_CASE("config: options without effect are told once they differ") {
  Config config;
  CHECK(config.compat_in_use().empty());
  CHECK(load(config, "rdbcompression yes\nsave 60 1\n") == "OK");
  const auto notes = config.compat_in_use();
  REQUIRE(notes.size() == 1);
  CHECK(notes[0].name == "save");
  CHECK_FALSE(notes[0].because.empty());
}

TEST_CASE("config: REWRITE keeps comments and order, and a restart gives the same values") {
  const Folder folder;
  const std::string path =
      folder.file("gyre.conf",
                  "# mine\nport 7000\n\nmaxclients 100 \n# limits\nmaxclients 200\n"
                  "save 900 1\nsave 60 5\n  hash-max-ziplist-entries 9\ncluster-node a b");
  Config config;
  REQUIRE(config.load_file(path));
  REQUIRE(config.rewrite());
  CHECK(folder.read("gyre.conf")
            .ends_with("cluster-node a b"));  // nothing to say: the file is untouched

  CHECK(set(config, Pairs{{"maxclients", "300"},
                          {"maxmemory", "100mb"},
                          {"save", "1 2 3 4"},
                          {"requirepass", "a \"b\" \x01\n#c"},
                          {"client-output-buffer-limit", "pubsub 1mb 2 3"}}) == "OK");
  REQUIRE(config.rewrite());
  CHECK(folder.read("gyre.conf") ==
        "# mine\nport 7000\n\nmaxclients 300\n# limits\nsave 1 2 3 4\n  hash-max-ziplist-entries "
        "9\ncluster-node a b\n"
        "\n# Written by CONFIG REWRITE:\n"
        "client-output-buffer-limit normal 256mb 64mb 60\nclient-output-buffer-limit replica 256mb "
        "64mb 60\n"
        "client-output-buffer-limit pubsub 1mb 2 3\nmaxmemory 100mb\nrequirepass \"a \\\"b\\\" "
        "\\x01\\n#c\"\n");
  Config again;
  REQUIRE(again.load_file(path));
  for (const OptionSpec& spec : option_table()) {
    CAPTURE(spec.name);
    CHECK(again.text(spec.option) == config.text(spec.option));
  }
  CHECK(set(again, "maxmemory", "0") == "OK");
  REQUIRE(again.rewrite());
  CHECK(folder.read("gyre.conf").find("\nmaxmemory 0\n") != std::string::npos);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) ==
        1);  // nothing left beside
}

TEST_CASE(
    "config: REWRITE overrides an include that comes later, and keeps a secret out of the file") {
  const Folder folder;
  const auto other = folder.file("other.conf", "hz 20\nsave 60 1\ncluster-node x y\n");
  const std::string path = folder.file("gyre.conf", "hz 10\ninclude other.conf\n");
  Config config;
  REQUIRE(config.load_file(path));
  CHECK(environment(config, {"GYRE_REQUIREPASS=hush"}) == "OK");
  CHECK(set(config, Pairs{{"hz", "30"}, {"save", "5 5"}}) == "OK");
  REQUIRE(config.rewrite());
  CHECK(folder.read("gyre.conf").find("hush") == std::string::npos);
  Config again;
  REQUIRE(again.load_file(path));
  CHECK(again.hz == 30);
  CHECK(again.save.get() == "5 5");
  CHECK(again.cluster_node.lines() == std::vector<std::string>{"x y"});
}

TEST_CASE("config: REWRITE without a file, or with a file that went bad") {
  Config config;
  const auto refused = config.rewrite();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text() == "The server is running without a config file");
  const Folder folder;
  const std::string path = folder.file("gyre.conf", "hz 10\n");
  REQUIRE(config.load_file(path));
  folder.file("gyre.conf", "hz lots\n");
  const auto bad = config.rewrite();
  REQUIRE_FALSE(bad);
  CHECK(bad.error().text().starts_with("Rewriting config file: "));
  CHECK(folder.read("gyre.conf") == "hz lots\n");
}

TEST_CASE("config: the sample file is the table's, and loads") {
  std::ostringstream text;
  text << std::ifstream("conf/gyre.conf").rdbuf();
  // When this fails: bin/gyre-conf > conf/gyre.conf
  CHECK(text.str() == sample_config());
  // With its examples taken out of their comments it gives the defaults again.
  std::string uncommented;
  std::istringstream lines(text.str());
  for (std::string line; std::getline(lines, line);) {
    const auto words = split_words(line);
    if (words && words->size() > 1 && (*words)[0] == "#" && (*words)[1] != "cluster-node" &&
        find_option((*words)[1]) && line.find(". ") == std::string::npos && line.back() != '.') {
      uncommented += line.substr(2) + "\n";
    }
  }
  Config config;
  const Config presets;
  CHECK(load(config, uncommented) == "OK");
  std::size_t given = 0;
  for (const OptionSpec& spec : option_table()) {
    CHECK(config.text(spec.option) == presets.text(spec.option));
    given += config.given(spec.option) ? 1 : 0;
  }
  CHECK(given == options_total - 2);  // all but the lines of nodes and users
}

}  // namespace
}  // namespace gyre
