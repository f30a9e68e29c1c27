// A batch from a peer: whatever decodes is encoded again and must decode to the same. Bytes as they
// came are not compared, because a number may be spelt in more than one way.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "wire/messages.h"

namespace {

// Stays under any sensible batch, and makes a reader that trusts a declared number show.
constexpr std::size_t input_bytes_max = 1 << 16;

template <class M>
std::string encoded(const M& message) {
  std::string out;
  gyre::Encoder encoder(out);
  encoder(message);
  return out;
}

template <class M>
bool round_trip(const gyre::Envelope& envelope) {
  M message;
  if (envelope.kind != M::kind || !gyre::decode_message(envelope, message)) return false;
  const std::string once = encoded(message);
  gyre::Envelope again{envelope.kind, envelope.shard, once};
  M second;
  GYRE_ASSERT(gyre::decode_message(again, second));
  GYRE_ASSERT(encoded(second) == once);
  // As a batch of its own it comes back whole.
  std::string batch;
  gyre::put_header(batch, {});
  gyre::put_message(batch, envelope.shard, message);
  gyre::BatchReader reader(batch);
  gyre::BatchHeader header;
  gyre::Envelope read;
  GYRE_ASSERT(reader.header(header));
  GYRE_ASSERT(reader.next(read));
  GYRE_ASSERT(read.kind == envelope.kind && read.shard == envelope.shard && read.body == once);
  GYRE_ASSERT(!reader.next(read) && reader.ok());
  return true;
}

template <class... M>
bool round_trip_any(const gyre::Envelope& envelope) {
  // A new kind is added to the list below.
  static_assert(sizeof...(M) == static_cast<std::size_t>(gyre::Kind::end) - 1);
  return (round_trip<M>(envelope) || ...);
}

bool decodes(const gyre::Envelope& envelope) {
  using namespace gyre;
  return round_trip_any<
      Forward, ForwardAnswer, Effects, EffectsAck, Fetch, FetchAnswer, Compare, CompareAnswer,
      FetchMany, FetchManyAnswer, Repair, RepairAck, Acted, ActedTaken, Evict, Waits, Woken, Walk,
      WalkAnswer, IdentityAsk, IdentityAnswer, IdentityStore, IdentityStored, CompareRanges,
      CompareRangesAnswer, ListLeaves, ListLeavesAnswer, ListParts, ListPartsAnswer, Confirm,
      ConfirmAnswer, Settled, WholeAsk, WholeAnswer, Publish, Invalidate, SettingsTold,
      SettingsTaken, ChannelsAsk, ChannelsAnswer, Heartbeat, HeartbeatAnswer>(envelope);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > input_bytes_max) return 0;
  // A copy of exact size, so that one byte too far is seen.
  const std::vector<char> exact(data, data + size);
  const std::string_view input(exact.data(), exact.size());

  gyre::BatchReader reader(input);
  gyre::BatchHeader header;
  gyre::Envelope envelope;
  if (reader.header(header)) {
    const std::string once = encoded(header);
    gyre::BatchHeader second;
    gyre::Decoder decoder(once);
    decoder(second);
    GYRE_ASSERT(decoder.finished() && encoded(second) == once);
    while (reader.next(envelope)) decodes(envelope);
  }

  // The input as the body of one message, so that every kind is met early.
  const auto kinds = static_cast<unsigned>(gyre::Kind::end) - 1;
  envelope = {static_cast<gyre::Kind>(1 + data[0] % kinds), 0, input.substr(1)};
  decodes(envelope);
  return 0;
}
