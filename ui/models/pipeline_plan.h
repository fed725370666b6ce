#pragma once

#include "core/layout/partition_preview.h"
#include "core/model/checkpoint.h"
#include "ui/models/runner.h"

#include <QObject>
#include <QString>

#include <vector>

namespace shardlens::ui {

// What somebody asks of the partitioner, as typed.
struct PipelineQuestion {
    std::uint64_t stages = 4;
    QString method = QStringLiteral("parameters");
    PartitionRules rules;
    StageAxes axes;
    QString names;   // class names, for type:
    QString weights; // where the checkpoint has no layers
    QString before;  // patterns: names that stand before the numbered layers,
    QString behind;  // and behind them (LayerOptions)

    bool operator==(const PipelineQuestion& other) const;
};

// The stages of one checkpoint: DeepSpeed's, and what a person makes of them by moving boundaries. Layers are read and cut on workers.
class PipelinePlan : public QObject {
    Q_OBJECT
public:
    enum class State {
        Reading,   // the checkpoint's layers, or a partition, are on their way
        NoLayers,  // the checkpoint has none: weights can be typed
        Refused,   // message() says why there is no partition
        Ready,
    };

    explicit PipelinePlan(QObject* parent = nullptr) : QObject(parent) {}

    // Reads the layers and cuts them at the run's own stages and sizes.
    void open(const CheckpointPtr& checkpoint);
    // Cuts again and drops moved boundaries; other sizes inside a stage (axes) alone keep them.
    void ask(const PipelineQuestion& question);
    [[nodiscard]] const PipelineQuestion& question() const { return m_question; }

    [[nodiscard]] State state() const { return m_state; }
    [[nodiscard]] const QString& message() const { return m_message; } // a sentence; empty in Ready, and in Reading where that is quick
    [[nodiscard]] bool hasLayers() const { return m_layers.has_value(); }
    // Whether names without a number have a place that somebody may have to say.
    [[nodiscard]] bool placesNames() const { return m_layers && !m_layers->isPipelineRun; }
    // What shows; meaningful in Ready.
    [[nodiscard]] const PartitionPreview& preview() const { return m_preview; }
    [[nodiscard]] const Partition& original() const { return m_original; } // DeepSpeed's
    [[nodiscard]] bool isMoved() const { return m_state == State::Ready && m_preview.partition.parts != m_original.parts; }
    // Class name or checkpoint's name of a layer; empty where there is none.
    [[nodiscard]] QString nameOfLayer(std::size_t layer) const;
    // What a width stands for: trainable parameters, with type: what matches; 1 each where nothing is known.
    [[nodiscard]] std::vector<double> widths() const;

    // Moves boundary 1 … stages − 1, at most to its neighbours; false where that changes nothing.
    bool moveBoundary(std::size_t boundary, std::uint32_t layer);
    void reset();
    // The boundaries before the last move or reset; false where there are none. A row of moves of one boundary is one step.
    bool undo();
    void endMove() { m_moving = 0; }

    // The same on the command line.
    [[nodiscard]] QString commandLine(const QString& path) const;

signals:
    void changed();

private:
    void read(bool isFirst);
    void adoptRun();
    void cut();
    void settle(State state, const QString& message = {});
    void adopt(std::vector<std::uint32_t> parts);
    [[nodiscard]] std::vector<std::uint64_t> balanced() const;

    CheckpointPtr m_checkpoint;
    std::optional<PipelineLayers> m_layers;
    bool m_isRead = false; // the layers are those of the question
    QString m_noLayers;
    PipelineQuestion m_question;
    State m_state = State::Reading;
    QString m_message;
    PartitionPreview m_preview;
    Partition m_original;
    std::vector<std::uint64_t> m_matches; // with type:, 1 a matching layer
    std::vector<std::string> m_names;
    std::vector<std::vector<std::uint32_t>> m_history;
    std::size_t m_moving = 0; // boundary of the row of moves; 0: none
    Runner m_run;
};

} // namespace shardlens::ui
