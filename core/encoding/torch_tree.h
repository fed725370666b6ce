#pragma once

#include "core/encoding/pickle/graph_builder.h"
#include "core/encoding/torch_file.h"
#include "core/model/shape.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// Makes the pickle of a torch file that is to be written: trees of other files are taken over, tensors are made or moved to numbered storages.
class TorchTree {
public:
    // The number of the new storage for a part of a storage of the file that is taken over.
    using StorageNumber = std::function<std::size_t(const TorchFile& file, const TorchStoragePart& part)>;

    TorchTree(bool keepObjects, StorageNumber storageNumber) : m_keepObjects(keepObjects), m_storageNumber(std::move(storageNumber)) {}

    [[nodiscard]] pickle::GraphBuilder& graph() { return m_graph; }

    // A dense tensor at the start of storage `key`; F4 counts values. Refused: a dtype that torch has no name for.
    [[nodiscard]] Result<pickle::Value> tensor(std::size_t key, DType dtype, const Shape& shape, bool requiresGrad = false);

    // The tree of another file from `from` on. `decide`, where given, is asked first; Copy goes on to the rules here. Objects of unknown classes (level 3 of
    // formats/pickle-safety.md §6) are left out and listed, unless they are kept. Refused with the file's offset: imports of levels 4 and 5, calls of what
    // is no name, attributes but those of known enumerations, torch files inside pickles that are no storage.
    [[nodiscard]] Result<pickle::Value> import(const std::shared_ptr<const TorchFile>& file, pickle::Value from, const pickle::GraphBuilder::Decide& decide = {});
    // Classes of objects that were left out, each once.
    [[nodiscard]] const std::vector<std::string>& leftOut() const { return m_leftOut; }

    [[nodiscard]] Result<std::vector<std::byte>> finish(pickle::Value root) &&;

private:
    using Fate = pickle::GraphBuilder::Fate;

    [[nodiscard]] Fate fateOf(const std::shared_ptr<const TorchFile>& file, pickle::Value value);
    [[nodiscard]] Fate fateOfCall(const std::shared_ptr<const TorchFile>& file, pickle::Value call);
    [[nodiscard]] Fate fateOfState(pickle::Value call);
    [[nodiscard]] Fate fateOfAttribute(const std::shared_ptr<const TorchFile>& file, pickle::Value call);
    [[nodiscard]] Fate fateOfNested(const std::shared_ptr<const TorchFile>& file, pickle::Value call);
    [[nodiscard]] Fate fateOfStorage(const std::shared_ptr<const TorchFile>& file, pickle::Value id);
    // A part that is judged by the rules, inside a decision about what holds it.
    [[nodiscard]] pickle::Value judged(const std::shared_ptr<const TorchFile>& file, pickle::Value value);
    [[nodiscard]] Fate fateOfName(pickle::Value global);
    [[nodiscard]] Fate leaveOut(const std::string& what);
    [[nodiscard]] Fate refuse(std::string text);

    bool m_keepObjects;
    StorageNumber m_storageNumber;
    pickle::GraphBuilder m_graph;
    std::vector<std::string> m_leftOut;
    std::optional<Error> m_error; // the first
};

// Tensors that a value reaches; one that is shared counts once.
[[nodiscard]] std::size_t tensorsBelow(pickle::Value root);

} // namespace shardlens
