// Ports: for clients, for cluster-aware clients, for the other nodes.

#include <unistd.h>

#include <condition_variable>
#include <mutex>

#include "config/line.h"
#include "server/server.h"

namespace gyre {

Result<void> Server::open_listeners() {
  Worker& w0 = *workers_[0];
  const auto accept = [this](bool cluster_aware) {
    return [this, cluster_aware](int fd, const std::string& address) {
      if (clients.load() >= static_cast<std::uint64_t>(config_.maxclients.get())) {
        static const std::string_view text = "-ERR max number of clients reached\r\n";
        (void)!::write(fd, text.data(), text.size());
        ::close(fd);
        workers_[0]->metrics_.rejected_connections.add();
        return;
      }
      const bool loopback = address.starts_with("127.") || address.starts_with("[::1]");
      if (config_.protected_mode && !loopback && accounts_.users()->default_user()->nopass()) {
        static const std::string_view text =
            "-DENIED Gyre is running in protected mode because no password is set. Connect from "
            "the loopback address, or set "
            "requirepass, or turn protected-mode off.\r\n";
        (void)!::write(fd, text.data(), text.size());
        ::close(fd);
        return;
      }
      clients.fetch_add(1);
      Worker& to = *workers_[next_worker_++ % workers_.size()];
      to.shard().value == 0 ? to.adopt_client(fd, cluster_aware)
                            : workers_[0]->send_mail(to.shard(), [fd, cluster_aware](Worker& w) {
                                w.adopt_client(fd, cluster_aware);
                              });
    };
  };
  std::vector<std::string> hosts;
  auto split = split_words(config_.bind.get());
  if (!split) return Error(Errc::config, "bind " + config_.bind.get() + " cannot be read");
  hosts = *split;
  const int backlog = static_cast<int>(config_.tcp_backlog.get());
  if (config_.port != 0) {
    listener_ = std::make_unique<Listener>(w0.loop_, accept(false));
    if (auto r = listener_->open(hosts, static_cast<std::uint16_t>(config_.port.get()), backlog);
        !r)
      return r;
  }
  if (config_.cluster_client_port != 0) {
    cluster_listener_ = std::make_unique<Listener>(w0.loop_, accept(true));
    if (auto r = cluster_listener_->open(
            hosts, static_cast<std::uint16_t>(config_.cluster_client_port.get()), backlog);
        !r)
      return r;
  }
  if (!alone()) {
    bus_listener_ = std::make_unique<Listener>(w0.loop_, [this](int fd, const std::string&) {
      Worker& to = *workers_[next_bus_++ % workers_.size()];
      to.shard().value == 0
          ? to.adopt_bus(fd)
          : workers_[0]->send_mail(to.shard(), [fd](Worker& w) { w.adopt_bus(fd); });
    });
  }
  w0.loop_.watch_signals([this](int) { request_stop(); });
  return {};
}

// The bus opens when every thread can take its connections.
Result<void> Server::open_bus() {
  const auto on_thread = [](Worker& w, const std::function<void()>& f) {
    std::mutex m;
    std::condition_variable done;
    bool ready = false;
    w.post([&](Worker&) {
      f();
      const std::lock_guard lock(m);
      ready = true;
      done.notify_one();
    });
    std::unique_lock lock(m);
    done.wait(lock, [&] { return ready; });
  };
  for (auto& w : workers_) on_thread(*w, [] {});
  const std::string bind =
      config_.bus_bind.get().empty() ? config_.bind.get() : config_.bus_bind.get();
  std::vector<std::string> hosts;
  if (auto split = split_words(bind)) hosts = *split;
  Result<void> opened;
  on_thread(*workers_[0], [&] {
    opened = bus_listener_->open(hosts, static_cast<std::uint16_t>(config_.bus_port.get()), 128);
  });
  return opened;
}

}  // namespace gyre
