#include "membership/vitals.h"

#include "membership/clock_pair.h"

namespace gyre {

Vitals::Vitals(const Options& options, const Clock& machine, VitalsHost& host)
    : machine_(machine),
      host_(host),
      ring_hash_(options.ring_hash),
      guard_(options.guard),
      clock_(machine, guard_),
      detector_(options.detector),
      said_(options.detector.nodes) {
  guard_.start(machine_.wall_ms(), machine_.steady_ms());
}

void Vitals::start() {
  if (const auto pair = read_together(machine_)) guard_.start(pair->wall, pair->steady);
}

void Vitals::set_skew(std::int64_t ms) {
  guard_.set_bound(ms);
  detector_.set_clock_trip(ms / 4);
}

void Vitals::tick(bool disk_failing) {
  const SteadyMs now = machine_.steady_ms();
  for (const Detector::Change& c : detector_.tick(now)) host_.peer_detected(c.peer, c.down);
  detector_.clocks(now, clocks_);
  if (const auto pair = read_together(machine_)) guard_.tick(pair->wall, pair->steady, clocks_);
  declare(disk_failing);
}

void Vitals::declare(bool disk_failing) {
  const bool fit = guard_.fit();
  const auto unfit =
      static_cast<std::uint8_t>((fit ? 0 : unfit_clock) | (disk_failing ? unfit_disk : 0));
  const std::uint8_t before = unfit_.exchange(unfit, std::memory_order_relaxed);
  // Each engine hears of the disk for itself.
  if ((before ^ unfit) & unfit_clock) host_.clock_fit(fit);
}

// ---- heartbeats

void Vitals::probe(std::string& batch, const BatchHeader& own, NodeIndex peer) {
  batch.clear();
  put_header(batch, own);
  put_message(batch, 0, detector_.probe(peer, machine_.steady_ms()));
}

bool Vitals::read_header(BatchReader& in, BatchHeader& header) const {
  return in.header(header) && header.format == wire_format && header.ring_hash == ring_hash_;
}

bool Vitals::on_probe(NodeIndex peer, std::string_view batch, const BatchHeader& own,
                      const Detector::Load& load, std::string& answer) {
  BatchReader in(batch);
  BatchHeader header;
  Envelope e;
  Heartbeat m;
  if (!read_header(in, header) || !in.next(e) || e.kind != Kind::heartbeat ||
      !decode_message(e, m)) {
    return false;
  }
  heard(peer, header);
  answer.clear();
  put_header(answer, own);
  put_message(answer, 0, detector_.answer(m, load, machine_.wall_ms() - clock_.wall_ms()));
  return true;
}

bool Vitals::on_answer(NodeIndex peer, std::string_view batch) {
  BatchReader in(batch);
  BatchHeader header;
  Envelope e;
  HeartbeatAnswer m;
  if (!read_header(in, header) || !in.next(e) || e.kind != Kind::heartbeat_answer ||
      !decode_message(e, m)) {
    return false;
  }
  heard(peer, header);
  detector_.answered(peer, header, m, machine_.steady_ms());
  return true;
}

void Vitals::heard(NodeIndex peer, const BatchHeader& header) {
  Said& said = said_[peer.value];
  if (said.serving == header.serving && said.unfit == header.unfit) return;
  const std::uint8_t before = said.unfit;
  said = {header.serving, header.unfit};
  host_.peer_says(peer, header, before);
}

}  // namespace gyre
