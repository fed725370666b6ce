#include "tests/support/rank_test_file.h"

#include <cstring>
#include <filesystem>

namespace shardlens::test {

void writeRankFile(const std::string& path, const std::string& key, const std::vector<TestTensor>& tensors, std::vector<std::pair<std::string, Py>> extras)
{
    std::vector<std::pair<std::string, Py>> model;
    std::vector<TestStorage> storages;
    for (const TestTensor& one : tensors) {
        model.emplace_back(one.name, Py{Py::Tensor{"FloatStorage", storages.size(), one.values.size(), 0, one.shape, {}}});
        storages.push_back({one.values.size() * sizeof(float), [values = one.values](std::uint64_t offset, std::span<std::byte> out) {
                                if (!out.empty())
                                    std::memcpy(out.data(), reinterpret_cast<const std::byte*>(values.data()) + offset, out.size());
                            }});
    }
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    if (key.empty())
        extras.insert(extras.begin(), model.begin(), model.end());
    else
        extras.emplace(extras.begin(), key, pyDict(std::move(model), true));
    writeTorchFile(path, pyDict(std::move(extras)), storages);
}

} // namespace shardlens::test
