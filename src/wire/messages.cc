#include "wire/messages.h"

namespace gyre {

void put_header(std::string& batch, const BatchHeader& header) {
  std::string body;
  Encoder encoder(body);
  encoder(header);
  put_bytes(batch, body);
}

bool BatchReader::header(BatchHeader& header) {
  const std::string_view body = in_.bytes();
  if (!in_.ok()) return ok_ = false;
  Decoder decoder(body);
  decoder(header);
  return ok_ = decoder.finished();
}

bool BatchReader::next(Envelope& envelope) {
  if (!ok_ || in_.done()) return false;
  const std::uint8_t kind = in_.u8();
  const std::uint64_t shard = in_.varint();
  envelope.body = in_.bytes();
  if (!in_.ok() || kind == 0 || kind >= static_cast<std::uint8_t>(Kind::end) || shard > 0xffff)
    return ok_ = false;
  envelope.kind = static_cast<Kind>(kind);
  envelope.shard = static_cast<std::uint16_t>(shard);
  return true;
}

}  // namespace gyre
