#pragma once

#include "core/analysis/verify.h"
#include "core/encoding/tensor_reader.h"
#include "core/format/open_options.h"
#include "core/model/checkpoint.h"
#include "ui/models/selection.h"

#include <QObject>
#include <QPointer>
#include <QString>

#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

class SafetyCheck;

// One tab: a path that is being opened or is open, its checkpoint, selection and places visited. Lives in the window's thread;
// opening runs on a worker and is dropped if the document goes or reloads.
class Document : public QObject {
    Q_OBJECT
public:
    enum class State { Opening, Open, Failed };

    explicit Document(QString path, QObject* parent = nullptr);
    ~Document() override;

    [[nodiscard]] const QString& path() const { return m_path; }
    [[nodiscard]] State state() const { return m_state; }
    // nullptr unless Open. Immutable: keep a copy of the pointer in workers.
    [[nodiscard]] const CheckpointPtr& checkpoint() const { return m_checkpoint; }
    // Streams of the checkpoint for reading values; nullptr unless Open. Safe from workers that hold the pointer.
    [[nodiscard]] const std::shared_ptr<const StreamSet>& streams() const { return m_streams; }
    [[nodiscard]] const QString& errorText() const { return m_error; } // a sentence; empty unless Failed
    // What the path is opened with: the defaults, until a strategy or the like was chosen. Whoever opens or converts it again needs them.
    [[nodiscard]] const OpenOptions& options() const { return m_options; }
    // The scan of its files; it starts when the document is open, and anew when it is opened again.
    [[nodiscard]] SafetyCheck* safety() const { return m_safety; }

    // The checkpoint's, and what a check of its values found since; empty unless Open.
    [[nodiscard]] const std::vector<Finding>& findings() const;
    void setVerified(std::shared_ptr<const VerifyReport> report);
    // nullptr until the values were checked.
    [[nodiscard]] const std::shared_ptr<const VerifyReport>& verified() const { return m_verified; }

    [[nodiscard]] const Selection& selection() const { return m_selection; }
    void select(const Selection& selection);
    void selectTensor(TensorId tensor) { select({tensor, std::nullopt, std::nullopt, std::nullopt}); }

    // The rank that the pages narrow themselves to; nothing: all of them. Opening anew shows all.
    [[nodiscard]] std::optional<std::uint32_t> keptRank() const { return m_keptRank; }
    void keepRank(std::optional<std::uint32_t> rank);

    // Starts (again) to open the path; F5.
    void load();
    // Tries to open it with other options. What is open stays until that is done, and where it fails: reopenRefused() then says why.
    void reopenWith(const OpenOptions& options);
    [[nodiscard]] bool isReopening() const { return m_isReopening; }
    // Asks a running load to stop: Failed with "Cancelled".
    void cancelLoad();

signals:
    void stateChanged();
    void reopeningChanged();
    void reopenRefused(const QString& why); // a sentence
    // The strategy of a MindSpore run is asked for: a file, or the folder of its stages' files.
    void strategyWanted(bool isFolder);
    void findingsChanged();
    void selectionChanged(const shardlens::ui::Selection& selection);
    void keptRankChanged();
    // A page other than the current one is asked for ("tensor", "atlas", …: Page::id()).
    void pageRequested(const QString& pageId);
    // The same with something chosen on it: the atlas by "tp" (Page::choose()).
    void choiceRequested(const QString& pageId, const QString& what);
    // "Convert" with a goal chosen already ("safetensors", "torch").
    void convertRequested(const QString& format);

private:
    void start(const OpenOptions& options);
    // `checkpoint` or why there is none.
    void deliver(std::uint64_t generation, const OpenOptions& options, const CheckpointPtr& checkpoint, const QString& problem);
    void adopt(const CheckpointPtr& checkpoint);

    QString m_path;
    OpenOptions m_options;
    bool m_isReopening = false;
    State m_state = State::Opening;
    CheckpointPtr m_checkpoint;
    std::shared_ptr<const StreamSet> m_streams;
    QString m_error;
    SafetyCheck* m_safety;
    std::shared_ptr<const VerifyReport> m_verified;
    Selection m_selection;
    std::optional<std::uint32_t> m_keptRank;
    std::uint64_t m_generation = 0;
    std::stop_source m_stop;
};

} // namespace shardlens::ui
