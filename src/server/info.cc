#include "server/info.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <limits>
#include <vector>

#include <sys/resource.h>
#include <sys/utsname.h>

#include "base/numbers.h"
#include "base/ticks.h"
#include "commands/command_command.h"
#include "commands/table.h"
#include "server/info_lines.h"
#include "server/memory_figures.h"
#include "server/server.h"
#include "server/version.h"
#include "server/worker.h"
#include "server/worker_scripts.h"

namespace gyre {
namespace {

// ---- the machine

std::string executable_path() {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<std::size_t>(n)) : std::string();
}

// ---- sections

void server_section(InfoLines& out) {
  Server& server = out.server();
  const Config& config = server.config();
  const UnixMs now = server.clock().wall_ms();
  const UnixMs up = std::max<UnixMs>(0, now - server.started_ms());
  out.put("redis_version", redis_version);
  out.put("gyre_version", gyre_version);
  out.put("redis_mode", out.cluster_aware ? "cluster" : "standalone");
  utsname name{};
  if (uname(&name) == 0) {
    out.put("os", std::string(name.sysname) + " " + name.release + " " + name.machine);
  }
  out.put("arch_bits", sizeof(void*) * 8);
  out.put("monotonic_clock", "POSIX clock_gettime");
  out.put("multiplexing_api", "epoll");
#if defined(__GNUC__) && !defined(__clang__)
  out.put("gcc_version", std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__) + "." +
                             std::to_string(__GNUC_PATCHLEVEL__));
#endif
  out.put_signed("process_id", getpid());
  out.put("process_supervised", "no");
  out.put("run_id", server.run_id());
  out.put_signed("tcp_port", out.cluster_aware ? config.cluster_client_port : config.port);
  out.put_signed("server_time_usec", now * 1000);
  out.put_signed("uptime_in_seconds", up / 1000);
  out.put_signed("uptime_in_days", up / 86'400'000);
  out.put_signed("hz", config.hz);
  out.put_signed("configured_hz", config.hz);
  out.put("executable", executable_path());
  out.put("config_file", config.file());
  out.put("io_threads_active", 0);
  out.put("threads", server.shards());
}

void clients_section(InfoLines& out) {
  out.put("connected_clients", out.server().clients.load(std::memory_order_relaxed));
  out.put_signed("maxclients", out.server().config().maxclients);
  out.put("tracking_clients", out.server().tracking_clients.load(std::memory_order_relaxed));
  out.zeros({"clients_in_timeout_table"});
  out.metrics("clients");
}

void memory_section(InfoLines& out) {
  Server& server = out.server();
  const auto [used, records, peak, resident, allocated, active, mapped] = memory_figures(server);
  out.put_bytes("used_memory", used);
  out.put_bytes("used_memory_rss", resident);
  out.put_bytes("used_memory_peak", peak);
  const auto percent = [&](std::string_view field, std::uint64_t part, std::uint64_t whole) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f%%", 100 * ratio(part, whole));
    out.put(field, text);
  };
  percent("used_memory_peak_perc", used, peak);
  out.put("used_memory_overhead", used - records);
  out.put("used_memory_dataset", records);
  percent("used_memory_dataset_perc", records, used);
  const auto beyond = [](std::uint64_t a, std::uint64_t b) {
    return static_cast<std::int64_t>(a) - static_cast<std::int64_t>(b);
  };
  if (allocated > 0) {
    out.put("allocator_allocated", allocated);
    out.put("allocator_active", active);
    out.put("allocator_resident", mapped);
  }
  const auto pages = static_cast<std::uint64_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
  out.put_bytes("total_system_memory", pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
  // Scripts and functions share a Lua for each thread.
  std::uint64_t lua = 0;
  for (std::size_t i = 0; i < server.shards(); ++i)
    lua += server.worker({static_cast<std::uint16_t>(i)})
               .scripts()
               .shown.memory.load(std::memory_order_relaxed);
  out.put("used_memory_vm_eval", lua);
  out.put_bytes("used_memory_lua", lua);
  const auto libraries = server.scripts.libraries();
  std::size_t codes = 0;
  for (const auto& [name, library] : libraries->by_name) codes += library->code.size();
  out.put("used_memory_scripts_eval", server.scripts.bytes());
  out.put("number_of_cached_scripts", server.scripts.count());
  out.put("number_of_functions", libraries->by_function.size());
  out.put("number_of_libraries", libraries->by_name.size());
  out.zeros({"used_memory_vm_functions"});
  out.put("used_memory_vm_total", lua);
  out.put("used_memory_functions", codes);
  out.put("used_memory_scripts", server.scripts.bytes() + codes);
  out.put_bytes("maxmemory", static_cast<std::uint64_t>(server.config().maxmemory.get()));
  out.put("maxmemory_policy", server.config().text(Option::maxmemory_policy));
  if (allocated > 0) {
    out.put_real("allocator_frag_ratio", ratio(active, allocated));
    out.put_signed("allocator_frag_bytes", beyond(active, allocated));
    out.put_real("allocator_rss_ratio", ratio(mapped, active));
    out.put_signed("allocator_rss_bytes", beyond(mapped, active));
    out.put_real("rss_overhead_ratio", ratio(resident, mapped));
    out.put_signed("rss_overhead_bytes", beyond(resident, mapped));
  }
  out.put_real("mem_fragmentation_ratio", ratio(resident, used));
  out.put_signed("mem_fragmentation_bytes", beyond(resident, used));
  // Clients, the store on disk and what it keeps in memory: maxmemory is for the data.
  out.put("mem_not_counted_for_evict", used - std::min(used, records));
  out.zeros({"mem_replication_backlog", "mem_total_replication_buffers", "mem_clients_slaves",
             "mem_aof_buffer"});
  out.put("mem_allocator", allocator_name());
  out.metrics("memory");
  out.zeros({"lazyfree_pending_objects", "lazyfreed_objects"});
}

// Snapshots are there only for whoever wants one: the store on disk is always current. Its figures
// are in the section Store. A rewrite is a compaction (BGREWRITEAOF).
void persistence_section(InfoLines& out) {
  Server& server = out.server();
  const Store* store = server.store();
  const StoreStats stats = store ? store->stats() : StoreStats{};
  const std::string_view health = stats.failing ? "err" : "ok";
  out.put("loading", server.loading() ? 1 : 0);
  if (server.loading()) out.put("loading_loaded_rows", server.loaded_rows.load());
  const Snapshots::State snapshot = server.snapshots().state();
  out.zeros({"async_loading"});
  out.put("rdb_changes_since_last_save", server.snapshots().changes_since());
  out.put("rdb_bgsave_in_progress", server.snapshots().running() ? 1 : 0);
  out.put_signed("rdb_last_save_time", server.snapshots().last_save_ms() / 1000);
  out.put("rdb_last_bgsave_status", snapshot.failed ? "err" : "ok");
  out.put_signed("rdb_last_bgsave_time_sec", snapshot.took_s);
  out.put_signed("rdb_current_bgsave_time_sec", snapshot.runs_s);
  out.put("rdb_saves", snapshot.saves);
  out.zeros({"rdb_last_cow_size"});
  out.put("aof_enabled", server.persist() ? 1 : 0);
  const UnixMs since = stats.compacting_since_ms, took = stats.compaction_took_ms;
  out.put("aof_rewrite_in_progress", since != 0 ? 1 : 0);
  out.zeros({"aof_rewrite_scheduled"});
  out.put_signed("aof_last_rewrite_time_sec", took < 0 ? -1 : took / 1000);
  out.put_signed("aof_current_rewrite_time_sec",
                 since == 0 ? -1 : (server.clock().wall_ms() - since) / 1000);
  out.put("aof_last_bgrewrite_status", stats.compactions_failed > 0 ? "err" : "ok");
  out.put("aof_rewrites", stats.compactions);
  out.put("aof_rewrites_consecutive_failures", stats.compactions_failed);
  out.put("aof_last_write_status", health);
  out.zeros({"aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"});
}

void stats_section(InfoLines& out) {
  const InfoSampler::Rates rates = out.server().sampler.rates();
  if (rates.known) {
    out.put("instantaneous_ops_per_sec", static_cast<std::uint64_t>(rates.commands + 0.5));
    out.put_real("instantaneous_input_kbps", rates.input_kb);
    out.put_real("instantaneous_output_kbps", rates.output_kb);
  }
  out.metrics("stats");
  const ChannelDirectory& channels = out.server().channels;
  out.put("pubsub_channels", channels.count(Listening::channel));
  out.put("pubsub_patterns", channels.count(Listening::pattern));
  out.put("pubsubshard_channels", channels.count(Listening::shard));
  const Snapshots::State snapshot = out.server().snapshots().state();
  out.put_signed("latest_fork_usec", snapshot.fork_us);
  out.put("total_forks", snapshot.forks);
  out.zeros({"total_net_repl_input_bytes", "sync_partial_ok", "sync_partial_err", "evicted_clients",
             "migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_key_hits",
             "active_defrag_key_misses", "io_threaded_reads_processed",
             "io_threaded_writes_processed"});
  std::uint64_t keys = 0, items = 0;
  for (std::size_t i = 0; i < out.server().shards(); ++i) {
    const Published& p = out.server().worker({static_cast<std::uint16_t>(i)}).published();
    keys += p.tracked_keys.load(std::memory_order_relaxed);
    items += p.tracked_items.load(std::memory_order_relaxed);
  }
  out.put("tracking_total_keys", keys);
  out.put("tracking_total_items", items);
  out.put("tracking_total_prefixes",
          out.server().worker({0}).published().tracked_prefixes.load(std::memory_order_relaxed));
}

// Nodes of a ring are equals, so to Redis' eyes each is a master without replicas, but for clients
// that SYNC sends a snapshot to.
void replication_section(InfoLines& out) {
  out.put("role", "master");
  const auto clients = out.server().sync_queue().clients();
  out.put("connected_slaves", clients.size());
  std::size_t number = 0;
  for (const auto& [id, c] : clients) {
    const std::string host = c.address.substr(0, c.address.rfind(':'));
    out.put("slave" + std::to_string(number++), "ip=" + host + ",port=" + std::to_string(c.port) +
                                                    ",state=" + std::string(c.state) +
                                                    ",offset=0,lag=0");
  }
  out.put("master_failover_state", "no-failover");
  out.put("master_replid", std::string(40, '0'));
  out.put("master_replid2", std::string(40, '0'));
  out.put("master_repl_offset", 0);
  out.put_signed("second_repl_offset", -1);
  out.zeros({"repl_backlog_active", "repl_backlog_size", "repl_backlog_first_byte_offset",
             "repl_backlog_histlen"});
}

void cpu_section(InfoLines& out) {
  const auto put = [&](std::string_view suffix, int who) {
    rusage usage{};
    if (getrusage(who, &usage) != 0) return;
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    out.put_real("used_cpu_sys" + std::string(suffix), seconds(usage.ru_stime), 6);
    out.put_real("used_cpu_user" + std::string(suffix), seconds(usage.ru_utime), 6);
  };
  put("", RUSAGE_SELF);
  put("_children", RUSAGE_CHILDREN);
}

void commandstats_section(InfoLines& out) {
  for (const CommandSpec* spec : all_commands()) {
    std::uint64_t calls = 0, ticks = 0, rejected = 0, failed = 0;
    out.each_worker([&, index = command_index(*spec)](Worker& w) {
      const CommandStats& s = w.stats(index);
      calls += s.calls.get();
      ticks += s.ticks.get();
      rejected += s.rejected.get();
      failed += s.failed.get();
    });
    if (calls + rejected + failed == 0) continue;
    const std::uint64_t usec = ticks_to_us(ticks);
    char text[256];
    std::snprintf(text, sizeof text,
                  "calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f,rejected_calls=%" PRIu64
                  ",failed_calls=%" PRIu64,
                  calls, usec, ratio(usec, calls), rejected, failed);
    out.put("cmdstat_" + command_shown_name(*spec), text);
  }
}

void errorstats_section(InfoLines& out) {
  std::map<std::string, std::uint64_t> sums;
  out.each_worker([&](Worker& w) { w.errors().add_to(sums); });
  for (const auto& [prefix, count] : sums) {
    out.put("errorstat_" + prefix, "count=" + std::to_string(count));
  }
}

void cluster_section(InfoLines& out) {
  out.put("cluster_enabled", out.cluster_aware ? 1 : 0);
}

// What this node holds; on a ring DBSIZE counts the whole of it. avg_ttl 0 is Redis' "not known".
void keyspace_section(InfoLines& out) {
  const DatabaseNames names = out.server().command_options().databases;
  for (std::size_t db = 0; db < databases_max; ++db) {
    std::uint64_t keys = 0, expires = 0;
    out.each_worker([&](Worker& w) {
      const Published::Db& counts = w.published().dbs[names.lies(db).value];
      keys += counts.keys.load(std::memory_order_relaxed);
      expires += counts.expires.load(std::memory_order_relaxed);
    });
    if (keys == 0) continue;
    out.put("db" + std::to_string(db),
            "keys=" + std::to_string(keys) + ",expires=" + std::to_string(expires) + ",avg_ttl=0");
  }
}

void store_section(InfoLines& out) {
  const Store* store = out.server().store();
  out.put("store_open", store ? 1 : 0);
  out.metrics("store");
  if (!store) return;
  const StoreStats s = store->stats();
  out.put("store_writes", s.writes);
  out.put("store_syncs", s.syncs);
  out.put("store_last_sync_us", s.last_sync_us);
  out.put("store_waiting_bytes", s.waiting_bytes);
  out.put("store_estimated_bytes", s.estimated_bytes);
  out.put("store_buffer_bytes", s.buffer_bytes);
  out.put("store_failing", s.failing ? 1 : 0);
}

void shards_section(InfoLines& out) {
  out.metrics("shards");
}
void no_lines(InfoLines&) {}

struct Section {
  std::string_view name;   // as asked for
  std::string_view title;  // tools look for these exact words
  void (*write)(InfoLines& out);
  enum class In : std::uint8_t { standard, all, everything } in = In::standard;
  bool on_ring_only = false;
};
// Modules has no lines because there are no modules, Latencystats because none are kept yet.
constexpr Section sections[] = {
    {"server", "Server", server_section},
    {"clients", "Clients", clients_section},
    {"memory", "Memory", memory_section},
    {"persistence", "Persistence", persistence_section},
    {"stats", "Stats", stats_section},
    {"replication", "Replication", replication_section},
    {"cpu", "CPU", cpu_section},
    {"modules", "Modules", no_lines},
    {"commandstats", "Commandstats", commandstats_section, Section::In::all},
    {"errorstats", "Errorstats", errorstats_section},
    {"latencystats", "Latencystats", no_lines, Section::In::all},
    {"cluster", "Cluster", cluster_section},
    {"ring", "Ring", info_ring, Section::In::standard, true},
    {"hints", "Hints", info_hints, Section::In::standard, true},
    {"antientropy", "AntiEntropy", info_antientropy, Section::In::standard, true},
    {"conflicts", "Conflicts", info_conflicts, Section::In::standard, true},
    {"store", "Store", store_section},
    {"shards", "Shards", shards_section},
    {"keyspace", "Keyspace", keyspace_section},
};

bool wanted(const Section& section, Args names) {
  const auto in = [&](Section::In level) { return section.in <= level; };
  if (names.empty()) return in(Section::In::standard);
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
    if (equals_ignore_case(name, "default")) return in(Section::In::standard);
    if (equals_ignore_case(name, "all")) return in(Section::In::all);
    if (equals_ignore_case(name, "everything")) return true;
    return equals_ignore_case(name, section.name);
  });
}

}  // namespace

std::string info_text(Worker& worker, Args names, bool cluster_aware) {
  InfoLines out(worker, cluster_aware);
  for (const Section& section : sections) {
    if (!wanted(section, names) || (section.on_ring_only && worker.server().alone())) continue;
    out.section(section.title);
    section.write(out);
  }
  return std::move(out.text);
}

void reset_statistics(Worker& worker) {
  worker.metrics().reset();
  worker.errors().reset();
  for (std::size_t i = 0; i < all_commands().size(); ++i) {
    CommandStats& s = worker.stats(i);
    for (MetricCell* cell : {&s.calls, &s.ticks, &s.rejected, &s.failed}) cell->set(0);
    s.took.reset();
  }
}

// ---- ErrorCounts

void ErrorCounts::note(std::string_view reply) {
  if (reply.starts_with('-')) reply.remove_prefix(1);
  const std::string_view prefix = reply.substr(0, reply.find_first_of(" \r\n"));
  const std::lock_guard lock(mutex_);
  const auto at = counts_.find(prefix);
  if (at != counts_.end()) {
    ++at->second;
  } else if (counts_.size() < prefixes_max) {
    counts_.emplace(prefix, 1);
  }
}

void ErrorCounts::add_to(std::map<std::string, std::uint64_t>& sums) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [prefix, count] : counts_) sums[prefix] += count;
}

void ErrorCounts::reset() {
  const std::lock_guard lock(mutex_);
  counts_.clear();
}

// ---- InfoSampler

void InfoSampler::sample(Server& server) {
  Sample now;
  now.at = server.clock().steady_ms();
  for (std::size_t i = 0; i < server.shards(); ++i) {
    const Metrics& m = server.worker(ShardIndex{static_cast<std::uint16_t>(i)}).metrics();
    now.commands += m.total_commands_processed.get();
    now.input += m.total_net_input_bytes.get();
    now.output += m.total_net_output_bytes.get();
  }
  // Asking the allocator goes through all of its arenas.
  const std::uint64_t memory = taken_ % memory_every == 0 ? used_memory(server) : 0;
  const std::lock_guard lock(mutex_);
  samples_[taken_++ % kept] = now;
  memory_peak_ = std::max(memory_peak_, memory);
}

InfoSampler::Rates InfoSampler::rates() const {
  const std::lock_guard lock(mutex_);
  if (taken_ < 2) return {};
  const Sample& last = samples_[(taken_ - 1) % kept];
  const Sample& first = samples_[taken_ > kept ? taken_ % kept : 0];
  const double seconds = static_cast<double>(last.at - first.at) / 1000;
  if (seconds <= 0) return {};
  // CONFIG RESETSTAT in between makes a number smaller: no rate then, rather than a wrong one.
  const auto rate = [&](std::uint64_t to, std::uint64_t from) {
    return to < from ? 0 : static_cast<double>(to - from) / seconds;
  };
  return {true, rate(last.commands, first.commands), rate(last.input, first.input) / 1024,
          rate(last.output, first.output) / 1024};
}

std::uint64_t InfoSampler::memory_peak(std::uint64_t now) {
  const std::lock_guard lock(mutex_);
  memory_peak_ = std::max(memory_peak_, now);
  return memory_peak_;
}

}  // namespace gyre
