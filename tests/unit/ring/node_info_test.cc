#include "ring/node_info.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace gyre {
namespace {

Result<NodeInfo> parse(std::string_view line) {
  return parse_node_info(line);
}

void check_refused(std::string_view line, std::string_view because) {
  CAPTURE(line);
  const auto node = parse(line);
  REQUIRE_FALSE(node);
  CAPTURE(node.error().detail);
  CHECK(node.error().code == Errc::config);
  CHECK(node.error().detail.find(because) != std::string::npos);
}

}  // namespace

TEST_CASE("a cluster-node line with all its options") {
  const auto node = parse(
      "n1 127.0.0.1 16379 port=6380 cluster-client-port=7380 rack=a weight=2 index=3 "
      "announce-host=gyre.example.org announce-port=80 announce-cluster-client-port=81");
  REQUIRE(node);
  CHECK(node->name == "n1");
  CHECK(node->host == "127.0.0.1");
  CHECK(node->bus_port == 16379);
  CHECK(node->port == 6380);
  CHECK(node->cluster_client_port == 7380);
  CHECK(node->rack == "a");
  CHECK(node->weight == 2);
  CHECK(node->index == 3);
  CHECK(node->client_host() == "gyre.example.org");
  CHECK(node->client_port() == 80);
  CHECK(node->client_cluster_port() == 81);
  CHECK(parse(format_node_info(*node)).value() == *node);
}

TEST_CASE("a cluster-node line with only what is needed") {
  const std::vector<std::string> args{"n1", "db-1.internal", "16379"};
  const auto node = parse_node_info(args);
  REQUIRE(node);
  CHECK(node->port == 6379);
  CHECK(node->cluster_client_port == 7379);
  CHECK(node->weight == 1);
  CHECK(node->rack.empty());
  CHECK(node->index == node_index_unset);
  CHECK(node->client_host() == "db-1.internal");
  CHECK(node->client_port() == 6379);
  CHECK(node->client_cluster_port() == 7379);
}

TEST_CASE("an option without a value leaves the default where that has a meaning") {
  const auto node =
      parse("\t n1  h\t1  rack= announce-host= announce-port= announce-cluster-client-port= ");
  REQUIRE(node);
  CHECK(*node == parse("n1 h 1").value());
  check_refused("n1 h 1 port=", "port='' is not a number from 0 to 65535");
  check_refused("n1 h 1 weight=", "from 1 to 1000");
}

TEST_CASE("hosts are names, IPv4 and IPv6 addresses") {
  for (const std::string_view host : {"localhost", "a.b.c", "db_1", "10.0.0.1", "::1",
                                      "2001:db8::1", "fe80::1%eth0", "a.example.org.", "1a.2b"}) {
    CAPTURE(host);
    CHECK(valid_host(host));
  }
  for (const std::string_view host : {"", ".", "a..b", "-a", "a-", "10.0.0.300", "10.0.0", "1", ":",
                                      "1::2::3", "fe80::1%", "a b", "a/b", "[::1]", "::1%e:0"}) {
    CAPTURE(host);
    CHECK_FALSE(valid_host(host));
  }
  CHECK_FALSE(valid_host(std::string(254, 'a')));
  CHECK_FALSE(valid_host(std::string(64, 'a')));
  CHECK(parse("n1 [::1] 1")->host == "::1");
  check_refused("n1 [n2] 1", "host '[n2]' is not");
}

TEST_CASE("a line that is wrong says what would be right") {
  check_refused("", "needs a name, a host and a bus port, as in: cluster-node n1 10.0.0.1 16379");
  check_refused("n1 h", "needs a name");
  check_refused("n/1 h 1", "name 'n/1' is not 1 to 63 of");
  check_refused(std::string(64, 'n') + " h 1", "is not 1 to 63 of");
  check_refused("n1 10.0.0.256 1",
                "host '10.0.0.256' is not a host name, an IPv4 or an IPv6 address (node n1)");
  for (const std::string bad : {"0", "65536", "-1", "+1", "x", "1x", "99999999999"}) {
    check_refused("n1 h " + bad, "bus port '" + bad + "' is not a number from 1 to 65535");
  }
  check_refused("n1 h 1 6379", "'6379' is not option=value; there are port=, ");
  check_refused("n1 h 1 ports=6379", "unknown option 'ports'; there are port=, ");
  check_refused("n1 h 1 port=1x", "port='1x' is not a number from 0 to 65535");
  check_refused("n1 h 1 weight=0", "from 1 to 1000");
  check_refused("n1 h 1 index=512", "index='512' is not a number from 0 to 511");
  check_refused("n1 h 1 rack=a rack=b", "rack= is given twice");
  check_refused("n1 h 1 rack=a,b", "rack='a,b' is not");
  check_refused("n1 h 1 announce-host=a:b", "announce-host='a:b' is not");
  check_refused("n1 h 6379", "bus port 6379 is also a port for clients");
  check_refused("n1 h 1 port=2 cluster-client-port=2", "both 2");
  check_refused("n1\n h 1", "name 'n1?' is not");
}

}  // namespace gyre
