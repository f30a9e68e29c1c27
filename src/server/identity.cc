#include "server/identity.h"

#include <cstdio>
#include <fstream>

#include "base/bytes.h"
#include "base/log.h"
#include "persist/small_file.h"
#include "server/server.h"
#include "server/worker.h"

namespace gyre {
namespace {

constexpr std::uint32_t identity_format = 1;
constexpr std::int64_t ask_again_ms = 300;

std::string read_boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

}  // namespace

Result<void> Identity::open(const std::string& dir, const Ring& ring, NodeIndex self,
                            const std::string& cluster, bool keep_files) {
  dir_ = dir;
  name_ = ring.node(self).name;
  cluster_ = cluster;
  index_ = ring.node(self).index;
  nodes_ = ring.nodes().size();
  keep_files_ = keep_files;
  boot_id_ = read_boot_id();
  if (nodes_ == 1) {
    settled_ = true;
    same_boot_ = true;
    return {};
  }
  if (!keep_files_) return {};
  auto file = read_small_file(dir_ + "/identity", "identity", identity_format);
  if (!file) return file.error();
  if (*file) {
    Reader in((*file)->content);
    const std::string name(in.bytes()), cluster_name(in.bytes());
    const std::uint16_t index = in.be16();
    const std::uint8_t incarnation = in.u8();
    const std::string boot(in.bytes());
    if (!in.ok() || incarnation > 7)
      return Error(
          Errc::corrupt,
          "the file " + dir_ + "/identity cannot be read; remove it to join as a new incarnation");
    if (name != name_)
      return Error(Errc::config,
                   "dir " + dir_ + " belongs to node '" + name + "', not to '" + name_ + "'");
    if (cluster_name != cluster_)
      return Error(Errc::config, "dir " + dir_ + " belongs to cluster '" + cluster_name +
                                     "', not to '" + cluster_ + "'");
    if (index != index_) {
      return Error(Errc::config, "dir " + dir_ + " was written as node index " +
                                     std::to_string(index) + ", the cluster-node lines make it " +
                                     std::to_string(index_) +
                                     "; keep the old one with index=" + std::to_string(index));
    }
    incarnation_ = incarnation;
    same_boot_ = boot == boot_id_;
    settled_ = true;
    if (auto written = write_identity(); !written) return written;
  }
  auto others = read_small_file(dir_ + "/incarnations", "incarns", identity_format);
  if (!others) return others.error();
  if (*others) {
    Reader in((*others)->content);
    while (in.ok() && !in.done()) {
      const std::string name(in.bytes());
      Stored s{in.u8(), static_cast<UnixMs>(in.be64())};
      if (in.ok()) others_[name] = s;
    }
  }
  return {};
}

Result<void> Identity::write_identity() {
  if (!keep_files_) return {};
  std::string content;
  put_bytes(content, name_);
  put_bytes(content, cluster_);
  put_be16(content, index_);
  put_u8(content, incarnation_);
  put_bytes(content, boot_id_);
  return write_small_file(dir_ + "/identity", "identity", identity_format, content);
}

Result<void> Identity::write_incarnations() {
  if (!keep_files_) return {};
  std::string content;
  for (const auto& [name, s] : others_) {
    put_bytes(content, name);
    put_u8(content, s.incarnation);
    put_be64(content, static_cast<std::uint64_t>(s.at_ms));
  }
  return write_small_file(dir_ + "/incarnations", "incarns", identity_format, content);
}

bool Identity::step(Worker& worker, SteadyMs steady) {
  if (settled_ || steady - asked_at_ < ask_again_ms) return false;
  asked_at_ = steady;
  const std::size_t majority = nodes_ / 2 + 1;
  const Ring& ring = worker.engine().ring();
  if (!chosen_ && answered_.size() + 1 >= majority) {
    // Nobody has heard of it: the first one. Else the next after the last.
    if (any_known_) incarnation_ = static_cast<std::uint8_t>((incarnation_ + 1) % 8);
    chosen_ = true;
    storing_ = true;
  }
  if (chosen_ && stored_.size() + 1 >= majority) {
    if (auto written = write_identity(); !written) {
      LOG_WARNING("the identity file cannot be written: %s",
                  std::string(written.error().text()).c_str());
      return false;
    }
    settled_ = true;
    LOG_NOTICE("incarnation %d of %s is stored by a majority of the ring",
               static_cast<int>(incarnation_), name_.c_str());
    return true;
  }
  for (std::uint16_t i = 0; i < ring.nodes().size(); ++i) {
    if (!chosen_ && !answered_.contains(i)) {
      worker.send_to({i}, IdentityAsk{.id = i, .from_shard = 0, .name = name_});
    } else if (chosen_ && !stored_.contains(i)) {
      worker.send_to(
          {i}, IdentityStore{.id = i, .from_shard = 0, .name = name_, .incarnation = incarnation_});
    }
  }
  return false;
}

std::string Identity::waiting_for() const {
  const std::size_t majority = nodes_ / 2 + 1;
  const bool storing = storing_;
  return std::to_string(majority - 1) + " of " + std::to_string(nodes_ - 1) +
         " other nodes to store this node's incarnation (" +
         std::to_string(storing ? stores_.load() : answers_.load()) +
         (storing ? " have stored it)" : " have answered)");
}

void Identity::on_message(Worker& worker, NodeIndex from, const Envelope& e) {
  switch (e.kind) {
    case Kind::identity_ask: {
      IdentityAsk m;
      if (!decode_message(e, m)) return;
      const auto at = others_.find(std::string(m.name));
      IdentityAnswer a;
      a.id = m.id;
      a.any = at != others_.end();
      if (a.any) a.incarnation = at->second.incarnation, a.used_ms = at->second.at_ms;
      worker.engine().send(from, m.from_shard, a);
      break;
    }
    case Kind::identity_answer: {
      IdentityAnswer m;
      if (!decode_message(e, m) || chosen_ || settled_) return;
      answered_.insert(from.value);
      answers_ = answered_.size();
      // Incarnations go round; the latest stored is the one to follow.
      if (m.any && (!any_known_ || m.used_ms > asked_last_ms_)) {
        asked_last_ms_ = m.used_ms;
        incarnation_ = m.incarnation;
      }
      any_known_ |= m.any;
      break;
    }
    case Kind::identity_store: {
      IdentityStore m;
      if (!decode_message(e, m) || m.incarnation > 7) return;
      others_[std::string(m.name)] = {m.incarnation, worker.wall_ms()};
      if (auto written = write_incarnations(); !written) {
        LOG_WARNING("the incarnation of %s cannot be stored: %s", std::string(m.name).c_str(),
                    std::string(written.error().text()).c_str());
        return;
      }
      worker.engine().send(from, m.from_shard, IdentityStored{.id = m.id});
      break;
    }
    case Kind::identity_stored: {
      IdentityStored m;
      if (!decode_message(e, m)) return;
      stored_.insert(from.value);
      stores_ = stored_.size();
      break;
    }
    default:
      break;
  }
}

}  // namespace gyre
