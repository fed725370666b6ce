#pragma once

#include "ui/models/selection.h"

#include <QWidget>

#include <map>
#include <utility>
#include <vector>

class QStackedWidget;
class QTimer;
class QVBoxLayout;

namespace shardlens::ui {

class Banner;
class Document;
class JobQueue;
class Page;

// One tab: its document, its pages (made when first shown), where it has been, and what it has to say above the page.
class Workspace : public QWidget {
    Q_OBJECT
public:
    Workspace(Document* document, JobQueue* queue, QWidget* parent = nullptr);

    [[nodiscard]] Document* document() const { return m_document; }
    [[nodiscard]] Page* currentPage() const;
    [[nodiscard]] QString currentPageId() const { return m_pageId; }
    void showPage(const QString& id);
    // Selects a tensor by its name, now or when the document is open. Where there is none a banner and standard error say so.
    void selectNamed(const QString& name);
    // Shows a page and hands it what a request names beside it (Page::choose), now or when the document is open.
    void chooseOnPage(const QString& id, const QString& what);
    // Opens what is open again with that strategy: a file, or a folder of its stages' files. Refused, it stays as it is and a banner says why.
    void useStrategy(const QString& path);
    // The pickles of what is open can be scanned, and of what is there but is no checkpoint.
    [[nodiscard]] bool canScan() const;
    [[nodiscard]] const QString& missedName() const { return m_missedName; } // a sentence; empty where the name was found
    [[nodiscard]] bool canGoBack() const { return m_place > 0; }
    [[nodiscard]] bool canGoForward() const { return m_place + 1 < static_cast<int>(m_places.size()); }
    void goBack() { goTo(m_place - 1); }
    void goForward() { goTo(m_place + 1); }

signals:
    void pageChanged(const QString& id);
    void openRequested(const QString& path);

protected:
    void paintEvent(QPaintEvent* event) override;

private:
    struct Place {
        QString page;
        Selection selection;
    };

    void followState();
    void showLoading();
    void hideLoading();
    void askForStrategy(bool isFolder);
    void showRefusal(const QString& why);
    void showFailure();
    void showScan(); // of what is no checkpoint
    void takeWishes();
    void lookForWriting();
    void setBanner(Banner* banner);
    Page* pageFor(const QString& id);
    void remember();
    void goTo(int place);

    Document* m_document;
    JobQueue* m_queue;
    QVBoxLayout* m_column;
    QStackedWidget* m_stack;
    QWidget* m_empty;      // while nothing has been opened yet
    QWidget* m_loading = nullptr;
    Banner* m_banner = nullptr;
    QTimer* m_loadingDelay;
    QTimer* m_writing; // ends when what was written lately no longer was
    QString m_wantedName;
    QString m_missedName;
    std::pair<QString, QString> m_wantedChoice; // page, what
    std::map<QString, Page*> m_pages;
    QString m_pageId;
    std::vector<Place> m_places;
    int m_place = -1;
    bool m_moving = false;
};

} // namespace shardlens::ui
