#include "types/list_id.h"

#include "base/assert.h"

namespace gyre {

std::string position_between(std::string_view left, std::string_view right) {
  GYRE_ASSERT(left < right);
  // Insertions tend to go on in one direction: the next one will lie on the far side of what we
  // insert now, seen from the newer neighbour. So most of the room is left there.
  const bool near_left = list_id_version(left) > list_id_version(right);
  std::string position;
  bool below = false;  // position is below `right` already, whatever follows
  for (std::size_t i = 0;; ++i) {
    // No byte that is chosen is zero, so behind `left` there is always room below what was chosen.
    const int low = i < left.size() ? static_cast<unsigned char>(left[i]) : 0;
    int high = 256;
    if (!below) {
      // Only ids that no push made (right = left and zeros) leave no room; then beside is the best
      // there is.
      if (i >= right.size()) return position;
      high = static_cast<unsigned char>(right[i]);
    }
    const int room = high - low - 1;
    if (room > 0) {
      const int step = 1 + room / 32;
      position.push_back(static_cast<char>(near_left ? low + step : high - step));
      return position;
    }
    position.push_back(static_cast<char>(low));
    if (low < high) below = true;
  }
}

}  // namespace gyre
