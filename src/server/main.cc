// gyre-server [CONFIG] [--option value ...]

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/log.h"
#include "config/config.h"
#include "server/server.h"
#include "server/version.h"

extern char** environ;

// jemalloc reads this when it starts. What a burst of messages has taken goes back to the system a
// second later, by a thread of the allocator's own; without one it stays until somebody allocates
// (a node of a ring after a million writes of 1 KB: 1,192 bytes a key, 1,154 with it).
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf =
    "background_thread:true,max_background_threads:1,dirty_decay_ms:1000,muzzy_decay_ms:0";
}

namespace {

void print_help() {
  std::printf(
      "Usage: gyre-server [CONFIG] [--option value ...]\n"
      "       gyre-server - (configuration from standard input)\n"
      "Every option of conf/gyre.conf can be given on the command line or as GYRE_OPTION in the "
      "environment.\n"
      "Examples:\n"
      "       gyre-server                          one node on 127.0.0.1:6379, durable, data in .\n"
      "       gyre-server --port 7000 --persistence no\n"
      "       gyre-server n1/gyre.conf             a node of a ring\n");
}

int run(gyre::Config& config) {
  using namespace gyre;
  log_level(static_cast<LogLevel>(config.loglevel.get()));
  if (!log_open(config.logfile.get(), config.node_name.get())) {
    std::fprintf(stderr, "logfile %s cannot be opened: %s\n", config.logfile.get().c_str(),
                 std::strerror(errno));
    return 1;
  }
  Server server(config);
  if (auto started = server.start(); !started) {
    LOG_WARNING("cannot start: %s", std::string(started.error().text()).c_str());
    server.request_stop();
    server.wait();
    return 1;
  }
  const std::string pidfile = config.pidfile.get();
  if (!pidfile.empty()) {
    std::ofstream(pidfile) << getpid() << "\n";
  }
  const int code = server.wait();
  if (!pidfile.empty()) ::unlink(pidfile.c_str());
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--help") || !std::strcmp(argv[i], "-h")) return print_help(), 0;
    if (!std::strcmp(argv[i], "--version") || !std::strcmp(argv[i], "-v")) {
      std::printf("Gyre server v=%s (speaks Redis %s)\n", gyre::gyre_version.data(),
                  gyre::redis_version.data());
      return 0;
    }
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  gyre::Config config;
  if (auto loaded = config.load(argc, argv, environ); !loaded) {
    std::fprintf(stderr, "%s\n", std::string(loaded.error().text()).c_str());
    return 1;
  }
  // Relative paths are relative to the config file's folder.
  if (const std::string& file = config.file(); file.find('/') != std::string::npos) {
    const std::string folder = file.substr(0, file.rfind('/'));
    if (!folder.empty() && chdir(folder.c_str()) != 0) {
      std::fprintf(stderr, "folder %s cannot be entered: %s\n", folder.c_str(),
                   std::strerror(errno));
      return 1;
    }
  }
  if (config.daemonize && daemon(1, 0) != 0) {
    std::fprintf(stderr, "cannot go to the background: %s\n", std::strerror(errno));
    return 1;
  }
  return run(config);
}
