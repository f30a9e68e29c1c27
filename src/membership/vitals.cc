#include "membership/vitals.h"

#include "membership/clock_pair.h"
#include "record/version.h"

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
  skew_ms_ = ms;
  guard_.set_bound(ms);
  detector_.set_clock_trip(ms / 4);
}

void Vitals::tick(bool disk_failing) {
  const SteadyMs now = machine_.steady_ms();
  for (const Detector::Change& c : detector_.tick(now)) host_.peer_detected(c.peer, c.down);
  detector_.clocks(now, clocks_);
  if (const auto pair = read_together(machine_)) {
    const std::int64_t before = guard_.base_ms();
    guard_.tick(pair->wall, pair->steady, clocks_);
    if (before - guard_.base_ms() > skew_ms_) {
      ahead_ms_ = before - guard_.base_ms();
      set_back_ = true;
      host_.clock_set_back();
    }
  }
  declare(disk_failing);
}

void Vitals::declare(bool disk_failing) {
  const bool ahead = stamps_ahead(machine_.steady_ms());
  const bool fit = guard_.fit() && !ahead;
  const auto unfit =
      static_cast<std::uint8_t>((fit ? 0 : unfit_clock) | (disk_failing ? unfit_disk : 0));
  const std::uint8_t before = unfit_.exchange(unfit, std::memory_order_relaxed);
  // Each engine hears of the disk for itself.
  if ((before ^ unfit) & unfit_clock) host_.clock_fit(fit);
}

// A clock that was ahead leaves stamps that go on from there when it is right again: the hybrid
// clock never goes back by itself. Nothing that lies further ahead than the skew bound was merged
// by anybody who answers; once all do, it is stamped again. Twice the bound, for what is on its
// way, and a second, by which stamps may be ahead after a start; not where the clock was set back.
bool Vitals::stamps_ahead(SteadyMs now) {
  constexpr SteadyMs lately_ms = 2000;
  std::int64_t highest = clock_.wall_ms() - now;
  std::size_t heard = 0;
  for (const Said& s : said_) {
    if (s.stamp_at == 0 || now - s.stamp_at > lately_ms) continue;
    ++heard;
    highest = std::max(highest, s.stamp_base_ms);
  }
  const UnixMs others = highest + now;
  if (heard == 0) return false;
  if (host_.stamp_ms() <= others + 2 * skew_ms_ + (set_back_ ? 0 : clock_bound_ahead_ms)) {
    set_back_ = false;
    return false;
  }
  // A clock that most peers have just confirmed is right, although it is to act only when it has
  // stayed so: by then others may take in what they refused, above all that was written meanwhile
  // (simulator, seed 166).
  if ((guard_.fit() || set_back_) && heard + 1 == said_.size() &&
      now - stamped_again_at_ > lately_ms) {
    stamped_again_at_ = now;
    host_.stamp_again(others + skew_ms_, ahead_ms_);
  }
  return true;
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
  HeartbeatAnswer own_answer = detector_.answer(m, load, machine_.wall_ms() - clock_.wall_ms());
  own_answer.stamp_ms = host_.stamp_ms();
  put_message(answer, 0, own_answer);
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
  const SteadyMs now = machine_.steady_ms();
  said_[peer.value].stamp_base_ms = m.stamp_ms - now;
  said_[peer.value].stamp_at = now;
  detector_.answered(peer, header, m, now);
  return true;
}

void Vitals::heard(NodeIndex peer, const BatchHeader& header) {
  Said& said = said_[peer.value];
  if (said.serving == header.serving && said.unfit == header.unfit) return;
  const std::uint8_t before = said.unfit;
  said.serving = header.serving;
  said.unfit = header.unfit;
  host_.peer_says(peer, header, before);
}

}  // namespace gyre
