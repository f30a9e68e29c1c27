// Stands in for libFuzzer where there is no clang, and in CI: runs a target over the files of the
// folders given and over inputs drawn from a fixed seed, which know nothing of coverage.
//
//   replay-NAME RUNS [FOLDER ...]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" [[gnu::weak]] std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                                             std::size_t max_size, unsigned seed);
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

constexpr std::size_t input_bytes_max = 1024;
std::minstd_rand random_numbers(1);

std::size_t below(std::size_t n) {
  return random_numbers() % n;
}

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

std::string mutated(std::string input) {
  const std::size_t size = input.size();
  input.resize(input_bytes_max);
  auto* const bytes = reinterpret_cast<std::uint8_t*>(input.data());
  const std::size_t now = LLVMFuzzerCustomMutator
                              ? LLVMFuzzerCustomMutator(bytes, size, input.size(),
                                                        static_cast<unsigned>(below(1 << 30)))
                              : LLVMFuzzerMutate(bytes, size, input.size());
  input.resize(now);
  return input;
}

}  // namespace

// One byte changed, some put in, or some taken out.
std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size) {
  const auto any = [] { return static_cast<std::uint8_t>(below(256)); };
  const std::size_t n = 1 + below(16);
  if (size > n && below(4) == 0) {
    const std::size_t at = below(size - n);
    std::copy(data + at + n, data + size, data + at);
    return size - n;
  }
  if (size == 0 || (size + n <= max_size && below(2) == 0)) {
    const std::size_t at = below(size + 1);
    std::copy_backward(data + at, data + size, data + size + n);
    std::generate(data + at, data + at + n, any);
    return size + n;
  }
  data[below(size)] = any();
  return size;
}

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: %s RUNS [FOLDER ...]\n", argv[0]), 2;
  std::vector<std::string> inputs = {""};
  for (int i = 2; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) continue;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream file(entry.path(), std::ios::binary);
      inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
  }
  std::sort(inputs.begin(), inputs.end());
  for (const std::string& input : inputs) run(input);
  const std::size_t given = inputs.size();
  for (long left = std::atol(argv[1]); left > 0; --left) {
    // What was drawn is drawn from again, so that inputs grow.
    std::string input = inputs[below(inputs.size())];
    for (std::size_t n = below(4) + 1; n > 0; --n) input = mutated(std::move(input));
    run(input);
    if (inputs.size() < given + 1000) {
      inputs.push_back(std::move(input));
    } else if (given < inputs.size()) {
      inputs[given + below(inputs.size() - given)] = std::move(input);
    }
  }
  std::printf("%s: %zu inputs and %s drawn\n", argv[0], given, argv[1]);
  return 0;
}
