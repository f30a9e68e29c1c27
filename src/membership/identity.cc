#include "membership/identity.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "base/probe.h"

namespace gyre {
namespace {

constexpr std::uint32_t identity_format = 2;  // 1 had the incarnation where the generation is
constexpr std::int64_t ask_again_ms = 300;
constexpr std::int64_t tell_again_ms = 1000;  // a peer that has not stored a settled node's

}  // namespace

Result<void> Identity::open(const Options& options, SmallFiles* files) {
  options_ = options;
  files_ = files;
  if (options_.nodes == 1) {
    settled_ = true;
    phase_ = Phase::settled;
    same_boot_ = true;
    return {};
  }
  if (!files_) return {};
  if (auto read = read_identity(); !read) return read;
  return read_incarnations();
}

Result<void> Identity::read_identity() {
  auto file = files_->read("identity", "identity", identity_format);
  if (!file) return file.error();
  if (!*file) return {};
  const std::string path = files_->path("identity");
  Reader in((*file)->content);
  const std::string name(in.bytes()), cluster(in.bytes());
  const std::uint16_t index = in.be16();
  const std::uint64_t generation = (*file)->format == 1 ? in.u8() : in.be64();
  const std::string boot(in.bytes());
  if (!in.ok()) {
    return Error(Errc::corrupt,
                 "the file " + path + " cannot be read; remove it to join as a new incarnation");
  }
  const std::string said = "the folder of " + path + " belongs to ";
  if (name != options_.name)
    return Error(Errc::config, said + "node '" + name + "', not to '" + options_.name + "'");
  if (cluster != options_.cluster) {
    return Error(Errc::config,
                 said + "cluster '" + cluster + "', not to '" + options_.cluster + "'");
  }
  if (index != options_.index) {
    return Error(Errc::config, path + " was written as node index " + std::to_string(index) +
                                   ", the cluster-node lines make it " +
                                   std::to_string(options_.index) +
                                   "; keep the old one with index=" + std::to_string(index));
  }
  generation_ = generation;
  same_boot_ = boot == options_.boot_id;
  settled_ = true;
  phase_ = Phase::settled;
  return write_identity();
}

Result<void> Identity::read_incarnations() {
  auto file = files_->read("incarnations", "incarns", identity_format);
  if (!file) return file.error();
  if (!*file) return {};
  Reader in((*file)->content);
  while (in.ok() && !in.done()) {
    const std::string name(in.bytes());
    Stored s;
    if ((*file)->format == 1) {
      s.generation = in.u8();
      s.at_ms[s.generation % incarnations] = static_cast<UnixMs>(in.be64());
    } else {
      s.generation = in.be64();
      for (UnixMs& at : s.at_ms) at = static_cast<UnixMs>(in.be64());
    }
    if (in.ok()) others_[name] = s;
  }
  return {};
}

Result<void> Identity::write_identity() {
  if (!files_) return {};
  std::string content;
  put_bytes(content, options_.name);
  put_bytes(content, options_.cluster);
  put_be16(content, options_.index);
  put_be64(content, generation_);
  put_bytes(content, options_.boot_id);
  return files_->write("identity", "identity", identity_format, content);
}

Result<void> Identity::write_incarnations() {
  if (!files_) return {};
  std::string content;
  for (const auto& [name, s] : others_) {
    put_bytes(content, name);
    put_be64(content, s.generation);
    for (const UnixMs at : s.at_ms) put_be64(content, static_cast<std::uint64_t>(at));
  }
  return files_->write("incarnations", "incarns", identity_format, content);
}

// ---- becoming settled

// When the incarnation of this generation is free: a minute after its last use. That ended at the
// latest when the generation after the former user was stored; where nobody remembers that one,
// a later one is a bound. And at the latest when this start began.
SteadyMs Identity::free_at(std::uint64_t generation) const {
  if (generation < incarnations) return began_;  // never used
  const auto ended = stored_at_.lower_bound(generation - incarnations + 1);
  const SteadyMs last_use = ended == stored_at_.end() ? began_ : std::min(ended->second, began_);
  return last_use + reuse_after_ms;
}

bool Identity::choose(SteadyMs now) {
  const std::size_t others = answered_.size();
  const std::uint64_t next = any_known_ ? last_known_ + 1 : 0;
  SteadyMs at = free_at(next);
  const bool meets = others >= options_.nodes - options_.nodes / 2;
  if (!meets) {
    if (others + 1 < majority()) return false;
    at = std::max(at, began_ + few_wait_ms);
  }
  if (now < at) {
    phase_ = Phase::waiting;
    wait_left_ms_ = at - now;
    if (!wait_said_ && at - now > few_wait_ms) {
      wait_said_ = true;
      LOG_NOTICE(
          "incarnation %d of %s was in use less than a minute ago: the start waits another "
          "%lld s",
          static_cast<int>(next % incarnations), options_.name.c_str(),
          static_cast<long long>((at - now + 999) / 1000));
    }
    return false;
  }
  generation_ = next;
  phase_ = Phase::storing;
  stored_.clear();
  stores_ = 0;
  return true;
}

void Identity::begin_again() {
  phase_ = Phase::asking;
  answered_.clear();
  stored_.clear();
  answers_ = stores_ = 0;
}

bool Identity::step(SteadyMs now, const Send& send) {
  if (!stepped_) {
    stepped_ = true;
    began_ = now;
    sent_at_ = now - tell_again_ms;
  }
  if (options_.nodes == 1 || now - sent_at_ < (settled_ ? tell_again_ms : ask_again_ms))
    return false;
  sent_at_ = now;
  const bool asks = phase_ == Phase::asking || phase_ == Phase::waiting;
  if (asks) choose(now);
  if (phase_ == Phase::storing && stored_.size() + 1 >= majority()) {
    if (auto written = write_identity(); !written) {
      LOG_WARNING("the identity file cannot be written: %s",
                  std::string(written.error().text()).c_str());
      return false;
    }
    settled_ = true;
    phase_ = Phase::settled;
    GYRE_PROBE(incarnation_taken);
    LOG_NOTICE("incarnation %d of %s is stored by a majority of the ring",
               static_cast<int>(incarnation()), options_.name.c_str());
    return true;
  }
  const bool tells = phase_ == Phase::storing || phase_ == Phase::settled;
  for (std::uint16_t i = 0; i < options_.nodes; ++i) {
    if (i == options_.self.value) continue;
    if (tells && !stored_.contains(i)) {
      send({i}, 0,
           IdentityStore{
               .id = i, .from_shard = 0, .name = options_.name, .generation = generation_});
    } else if (!tells && !answered_.contains(i)) {
      send({i}, 0, IdentityAsk{.id = i, .from_shard = 0, .name = options_.name});
    }
  }
  return false;
}

std::string Identity::waiting_for() const {
  const std::string others = std::to_string(options_.nodes - 1) + " other nodes";
  switch (phase_.load()) {
    case Phase::waiting:
      return "its incarnation to be free: " + std::to_string((wait_left_ms_.load() + 999) / 1000) +
             " s (" + std::to_string(answers_.load()) + " of " + others + " have answered)";
    case Phase::storing:
      return std::to_string(majority() - 1) + " of " + others +
             " to store this node's incarnation (" + std::to_string(stores_.load()) +
             " have stored it)";
    default:
      return std::to_string(options_.nodes - options_.nodes / 2) + " of " + others +
             " to tell this node's last incarnation (" + std::to_string(answers_.load()) +
             " have answered)";
  }
}

// ---- messages

void Identity::on_message(NodeIndex from, const Envelope& e, SteadyMs now, UnixMs wall,
                          const Send& send) {
  const auto read = [&]<class M>(M m, const auto& handle) {
    if (decode_message(e, m)) handle(m);
  };
  switch (e.kind) {
    case Kind::identity_ask:
      return read(IdentityAsk{}, [&](const auto& m) { on_ask(from, m, wall, send); });
    case Kind::identity_answer:
      return read(IdentityAnswer{}, [&](const auto& m) { on_answer(from, m, now); });
    case Kind::identity_store:
      return read(IdentityStore{}, [&](const auto& m) { on_store(from, m, wall, send); });
    case Kind::identity_stored:
      return read(IdentityStored{}, [&](const auto& m) { on_stored(from, m); });
    default:
      break;
  }
}

void Identity::on_ask(NodeIndex from, const IdentityAsk& m, UnixMs wall, const Send& send) {
  const auto at = others_.find(std::string(m.name));
  IdentityAnswer a;
  a.id = m.id;
  a.any = at != others_.end();
  if (a.any) {
    const Stored& s = at->second;
    a.generation = s.generation;
    for (std::uint64_t back = 0; back < incarnations && back <= s.generation; ++back) {
      const std::uint64_t g = s.generation - back;
      if (const UnixMs stored = s.at_ms[g % incarnations])
        a.uses.push_back({g, std::max<std::int64_t>(0, wall - stored)});
    }
  }
  send(from, m.from_shard, a);
}

void Identity::on_answer(NodeIndex from, const IdentityAnswer& m, SteadyMs now) {
  if (phase_ != Phase::asking && phase_ != Phase::waiting) return;
  answered_.insert(from.value);
  answers_ = answered_.size();
  if (!m.any) return;
  last_known_ = any_known_ ? std::max(last_known_, m.generation) : m.generation;
  any_known_ = true;
  for (const IdentityUse& use : m.uses) {
    const SteadyMs at = now - std::clamp<std::int64_t>(use.age_ms, 0, 1'000'000'000'000);
    const auto [known, added] = stored_at_.emplace(use.generation, at);
    if (!added) known->second = std::max(known->second, at);
  }
}

void Identity::on_store(NodeIndex from, const IdentityStore& m, UnixMs wall, const Send& send) {
  const std::string name(m.name);
  const auto [at, added] = others_.emplace(name, Stored{});
  Stored& s = at->second;
  if (!added && m.generation < s.generation) {
    if (refused_.insert(name).second) {
      LOG_WARNING("%s comes with generation %llu, but had %llu before: an old copy of its folder",
                  name.c_str(), static_cast<unsigned long long>(m.generation),
                  static_cast<unsigned long long>(s.generation));
    }
  } else if (added || m.generation > s.generation) {
    const Stored before = s;
    s.generation = m.generation;
    s.at_ms[m.generation % incarnations] = wall;
    if (auto written = write_incarnations(); !written) {
      LOG_WARNING("the incarnation of %s cannot be stored: %s", name.c_str(),
                  std::string(written.error().text()).c_str());
      added ? void(others_.erase(at)) : void(s = before);
      return;
    }
    refused_.erase(name);
  }
  send(from, m.from_shard, IdentityStored{.id = m.id, .generation = s.generation});
}

void Identity::on_stored(NodeIndex from, const IdentityStored& m) {
  if (phase_ != Phase::storing && phase_ != Phase::settled) return;
  if (m.generation > generation_) {
    if (!settled_) return begin_again();  // somebody knew of more than those who answered
    if (!outdated_) {
      LOG_WARNING(
          "a peer knows generation %llu of this node, which has %llu: its folder is an old "
          "copy and counts for nothing before it was compared",
          static_cast<unsigned long long>(m.generation),
          static_cast<unsigned long long>(generation_.load()));
    }
    outdated_ = true;
  } else if (m.generation < generation_) {
    return;  // of an earlier question
  }
  stored_.insert(from.value);
  stores_ = stored_.size();
}

}  // namespace gyre
