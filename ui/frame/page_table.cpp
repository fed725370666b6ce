#include "ui/frame/page_table.h"

#include "ui/models/device_map.h"
#include "ui/pages/atlas_page.h"
#include "ui/pages/compare_page.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/devices_page.h"
#include "ui/pages/metadata_page.h"
#include "ui/pages/model_page.h"
#include "ui/pages/overview_page.h"
#include "ui/pages/pipeline_page.h"
#include "ui/pages/safety_page.h"
#include "ui/pages/tensor_page.h"
#include "ui/pages/tensors_page.h"
#include "ui/pages/topology_page.h"
#include "ui/pages/writers_page.h"

#include <QCoreApplication>

#include <array>

namespace shardlens::ui {
namespace {

template <typename T>
Page* make(Document* document, JobQueue*)
{
    return new T(document);
}

Page* makeConvert(Document* document, JobQueue* queue)
{
    return new ConvertPage(document, queue);
}

constexpr std::array<PageEntry, 13> kPages{{
    {"overview", QT_TRANSLATE_NOOP("PageTable", "Overview"), "overview", Qt::Key_1, true, make<OverviewPage>},
    {"tensors", QT_TRANSLATE_NOOP("PageTable", "Tensors"), "tensors", Qt::Key_2, true, make<TensorsPage>},
    {"atlas", QT_TRANSLATE_NOOP("PageTable", "Atlas"), "atlas", Qt::Key_3, true, make<AtlasPage>},
    {"writers", QT_TRANSLATE_NOOP("PageTable", "Writers"), "file", Qt::Key_W, true, make<WritersPage>},
    {"tensor", QT_TRANSLATE_NOOP("PageTable", "Tensor"), "tensor", Qt::Key_4, true, make<TensorPage>},
    {"topology", QT_TRANSLATE_NOOP("PageTable", "Topology"), "topology", Qt::Key_5, true, make<TopologyPage>},
    {"devices", QT_TRANSLATE_NOOP("PageTable", "Devices"), "devices", Qt::Key_D, true, make<DevicesPage>, isMindSporeRun},
    {"pipeline", QT_TRANSLATE_NOOP("PageTable", "Pipeline"), "pipeline", Qt::Key_0, true, make<PipelinePage>},
    {"model", QT_TRANSLATE_NOOP("PageTable", "Model"), "model", Qt::Key_6, true, make<ModelPage>},
    {"compare", QT_TRANSLATE_NOOP("PageTable", "Compare"), "compare", Qt::Key_7, true, make<ComparePage>},
    {"metadata", QT_TRANSLATE_NOOP("PageTable", "Metadata"), "metadata", Qt::Key_8, true, make<MetadataPage>},
    {"safety", QT_TRANSLATE_NOOP("PageTable", "Safety"), "safety", Qt::Key_9, true, make<SafetyPage>},
    {"convert", QT_TRANSLATE_NOOP("PageTable", "Convert"), "convert", Qt::Key_Return, false, makeConvert},
}};

} // namespace

std::span<const PageEntry> pageTable()
{
    return kPages;
}

QString titleOf(const PageEntry& entry)
{
    return QCoreApplication::translate("PageTable", entry.title);
}

} // namespace shardlens::ui
